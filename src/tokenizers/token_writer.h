#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lowbank::tokenizers {

/// Takes the ids of a text while the text is being encoded.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  /// The next ids, and for each id the byte offset in the text where its part ends (see Encoding);
  /// `ends` is empty where the encoder was not asked for offsets.
  virtual void take(std::span<const std::int32_t> ids, std::span<const std::int64_t> ends) = 0;
};

/// Collects ids into blocks for a TokenSink.
class TokenWriter {
 public:
  /// With `with_ends`, the sink receives the offsets too.
  TokenWriter(TokenSink& sink, bool with_ends) : sink_(sink), with_ends_(with_ends) {}
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;

  bool with_ends() const { return with_ends_; }
  /// The offset in the text of the part that is being encoded; the ends of add() count from there.
  void start_part(std::int64_t offset) { offset_ = offset; }
  std::int64_t offset() const { return offset_; }

  void add(std::int32_t id, std::size_t end) {
    is_last_special_ = false;
    if (ids_.size() == kBlock) flush_block();
    ids_.push_back(id);
    if (with_ends_) ends_.push_back(offset_ + static_cast<std::int64_t>(end));
  }
  /// A token that stands for no part of the text.
  void add_special(std::int32_t id, std::size_t end) {
    add(id, end);
    is_last_special_ = true;
  }
  /// Lets the last id end at `end` of this part, unless it is special.
  void extend_last(std::size_t end) {
    if (!with_ends_ || ends_.empty() || is_last_special_) return;
    ends_.back() = offset_ + static_cast<std::int64_t>(end);
  }
  /// Hands everything to the sink.
  void finish();

 private:
  static constexpr std::size_t kBlock = 4096;
  void flush_block();  // the last id stays, because extend_last may still change it

  TokenSink& sink_;
  bool with_ends_;
  bool is_last_special_ = false;
  std::int64_t offset_ = 0;
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> ends_;
};

/// A growing list of ids at four bytes an id. It is stored in chunks, so that growth copies nothing,
/// and is moved, not copied: it may be as large as the text.
class IdList : public TokenSink {
 public:
  IdList() = default;
  IdList(IdList&&) = default;
  IdList& operator=(IdList&&) = default;
  void take(std::span<const std::int32_t> ids, std::span<const std::int64_t>) override;
  std::size_t size() const {
    return chunks_.empty() ? 0 : (chunks_.size() - 1) * kChunk + chunks_.back().size();
  }
  void truncate(std::size_t size);
  /// Copies out.size() ids from the one at `begin` on; all must be there.
  void copy(std::size_t begin, std::span<std::int64_t> out) const;
  bool operator==(const IdList& other) const { return chunks_ == other.chunks_; }
  bool operator==(const std::vector<std::int64_t>& ids) const;
  const std::vector<std::vector<std::int32_t>>& chunks() const { return chunks_; }

 private:
  static constexpr std::size_t kChunk = std::size_t{1} << 16;
  std::vector<std::vector<std::int32_t>> chunks_;
};

}  // namespace lowbank::tokenizers
