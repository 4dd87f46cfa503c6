#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Ids of a text and where the text of each one ends.
struct Encoding {
  std::vector<std::int64_t> ids;
  /// Byte offset in the text, per id; id i stands for [ends[i - 1], ends[i]), nothing for specials
  /// and for all but the last of the byte tokens of one character.
  std::vector<std::int64_t> ends;
};

/// Text to token ids and back.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Without special tokens unless `add_special` (then those the tokenizer's configuration names).
  virtual std::vector<std::int64_t> encode(std::string_view text,
                                           bool add_special = false) const = 0;
  virtual Encoding encode_with_offsets(std::string_view text, bool add_special = false) const = 0;
  /// Without special tokens. Errors: ConfigError for an id outside the vocabulary.
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  /// The bytes that `id` adds after `previous` (-1 at the start): joined over a text they are its
  /// decode(), but for bytes that are not UTF-8 (see Utf8Stream).
  virtual std::string decode_piece(std::int64_t previous, std::int64_t id) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<std::int64_t> bos_id() const = 0;
  virtual std::optional<std::int64_t> eos_id() const = 0;
};

/// Opens a tokenizer file or the one of a checkpoint (or run) folder. Errors: IoError.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

/// True if `path` is a file, or a checkpoint (or run) folder with a tokenizer in it.
bool has_tokenizer(const std::string& path);

}  // namespace lowbank
