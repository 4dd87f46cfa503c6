#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Text to token ids and back.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Without special tokens unless `add_special` (then those the tokenizer's configuration names).
  virtual std::vector<std::int64_t> encode(std::string_view text, bool add_special = false) const = 0;
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  /// The text that one more id adds after `previous` (for streaming).
  virtual std::string decode_piece(std::int64_t previous, std::int64_t id) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<std::int64_t> bos_id() const = 0;
  virtual std::optional<std::int64_t> eos_id() const = 0;
};

/// Opens a tokenizer file or the one of a checkpoint (or run) folder. Errors: IoError.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

}  // namespace lowbank
