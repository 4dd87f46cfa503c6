#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank::tokenizers {

/// Ids of a text and where the text of each one ends.
struct Encoding {
  std::vector<std::int64_t> ids;
  /// Byte offset in the text, per id; id i stands for [ends[i - 1], ends[i]), nothing for specials
  /// and for all but the last of the byte tokens of one character.
  std::vector<std::int64_t> ends;
};

/// Ids of one or two texts with special tokens around them, and the text that each belongs to.
struct PairEncoding {
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> type_ids;  ///< token_type_ids
};

/// Ids of tokens with a part to play; only those that the tokenizer's files name.
struct SpecialIds {
  std::optional<std::int64_t> bos = {}, eos = {}, unk = {}, pad = {}, cls = {}, sep = {}, mask = {};
};

/// Text to token ids and back. All members may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Without special tokens unless `add_special` (then those the tokenizer's configuration names).
  /// Never cut, never padded. Errors: ConfigError for text that is not UTF-8, but for
  /// sentencepiece, which reads bytes that are no text as U+FFFD.
  virtual std::vector<std::int64_t> encode(std::string_view text,
                                           bool add_special = false) const = 0;
  virtual Encoding encode_with_offsets(std::string_view text, bool add_special = false) const = 0;
  /// One or two texts as the tokenizer's template has them ([CLS] first [SEP] second [SEP]), cut to
  /// `max_length` ids in all, the longer text first, from its end.
  ///
  /// Source: huggingface/tokenizers, truncation strategy longest_first (transformers' default).
  /// Errors: ConfigError when the tokenizer has no template, or the template alone is longer.
  virtual PairEncoding encode_pair(std::string_view first, std::optional<std::string_view> second,
                                   std::int64_t max_length) const;
  /// Without special tokens. Errors: ConfigError for an id outside the vocabulary.
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  /// The bytes that `id` adds after `previous` (-1 at the start): joined over a text they are its
  /// decode(), but for bytes that are not UTF-8 (see Utf8Stream). A text starts at -1 and after the
  /// tokens that stand in front of a text (BOS, CLS).
  virtual std::string decode_piece(std::int64_t previous, std::int64_t id) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<std::int64_t> bos_id() const = 0;
  virtual std::optional<std::int64_t> eos_id() const = 0;
  virtual SpecialIds special_ids() const { return {.bos = bos_id(), .eos = eos_id()}; }
};

/// Ids of many texts, made by `num_threads` threads; the result does not depend on their number.
std::vector<std::vector<std::int64_t>> encode_batch(const Tokenizer& tokenizer,
                                                    std::span<const std::string> texts,
                                                    bool add_special, std::int64_t num_threads);

/// Opens a tokenizer file or the one of a checkpoint (or run) folder. Errors: IoError.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

/// True if `path` is a file, or a checkpoint (or run) folder with a tokenizer in it.
bool has_tokenizer(const std::string& path);

}  // namespace lowbank::tokenizers
