#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "tokenizers/tokenizer.h"
#include "tokenizers/utf8_stream.h"

namespace lowbank::tokenizers {

/// Joins the pieces of ids (Tokenizer::decode_piece) to a text, which leaves in blocks.
class PieceJoiner {
 public:
  using Take = std::function<void(std::string_view)>;
  /// `previous` stands before the first id; -1 at the start of a text.
  PieceJoiner(const Tokenizer& tokenizer, Take take, std::int64_t previous = -1)
      : tokenizer_(tokenizer), take_(std::move(take)), previous_(previous) {}

  void add(std::int64_t id) {
    block_ += stream_.push(tokenizer_.decode_piece(previous_, id));
    previous_ = id;
    if (block_.size() >= kBlockBytes) flush();
  }
  void finish() {
    block_ += stream_.finish();
    flush();
  }
  /// All ids of a list from the one at `from` on, and the end of the text.
  void join(const IdList& ids, std::size_t from = 0) {
    for (const auto& chunk : ids.chunks()) {
      for (std::size_t i = std::min(from, chunk.size()); i < chunk.size(); ++i) add(chunk[i]);
      from -= std::min(from, chunk.size());
    }
    finish();
  }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 16;
  void flush() {
    if (!block_.empty()) take_(block_);
    block_.clear();
  }

  const Tokenizer& tokenizer_;
  Take take_;
  std::int64_t previous_;
  Utf8Stream stream_;
  std::string block_;
};

}  // namespace lowbank::tokenizers
