#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/token_writer.h"

namespace lowbank::tokenizers {

/// Ids of a text and where the text of each one ends.
struct Encoding {
  std::vector<std::int64_t> ids;
  /// Byte offset in the text, per id; id i stands for [ends[i - 1], ends[i]), nothing for specials
  /// and for all but the last of the byte tokens of one character.
  std::vector<std::int64_t> ends;
};

/// A piece of a text that is encoded piece by piece.
struct TextPart {
  std::string_view text = {};
  bool is_first = true;  ///< nothing stands before it
  bool is_last = true;   ///< nothing follows
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
  std::vector<std::int64_t> encode(std::string_view text, bool add_special = false) const;
  Encoding encode_with_offsets(std::string_view text, bool add_special = false) const;
  /// Encodes a text, or a part of one that find_cut() bounds, into `out`. Special tokens come
  /// before the first part and after the last. Working memory does not grow with the part, except
  /// for what docs/tokenize.md names.
  virtual void encode_part(const TextPart& part, bool add_special, TokenWriter& out) const = 0;
  /// The last offset inside `text` at which it may be cut: the ids of the parts, one after the
  /// other, are those of the whole, whatever stands before and behind `text`. 0 if there is none.
  virtual std::size_t find_cut(std::string_view /*text*/) const { return 0; }
  /// One or two texts as the tokenizer's template has them ([CLS] first [SEP] second [SEP]), cut to
  /// `max_length` ids in all, the longer text first, from its end.
  ///
  /// Source: huggingface/tokenizers, truncation strategy longest_first (transformers' default).
  /// Errors: ConfigError when the tokenizer has no template, or the template alone is longer.
  virtual PairEncoding encode_pair(std::string_view first, std::optional<std::string_view> second,
                                   std::int64_t max_length) const;
  /// Without special tokens. Errors: ConfigError for an id outside the vocabulary.
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  /// decode() of a long list, handed to `take` piece by piece. Working memory does not grow with the
  /// list, except for the decoders that docs/tokenize.md names.
  virtual void decode_list(const IdList& ids,
                           const std::function<void(std::string_view)>& take) const = 0;
  /// The bytes that `id` adds after `previous` (-1 at the start): joined over a text they are its
  /// decode(), but for bytes that are not UTF-8 (see Utf8Stream). A text starts at -1 and after the
  /// tokens that stand in front of a text (BOS, CLS).
  virtual std::string decode_piece(std::int64_t previous, std::int64_t id) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<std::int64_t> bos_id() const = 0;
  virtual std::optional<std::int64_t> eos_id() const = 0;
  virtual SpecialIds special_ids() const { return {.bos = bos_id(), .eos = eos_id()}; }
};

/// About how many bytes of a text are encoded at a time.
inline constexpr std::size_t kPartBytes = std::size_t{1} << 18;

/// Encodes a whole text, part by part of about `part_bytes`, into `out` and finishes it. The ids do
/// not depend on `part_bytes`.
void encode_text(const Tokenizer& tokenizer, std::string_view text, bool add_special,
                 TokenWriter& out, std::size_t part_bytes = kPartBytes);

/// Gives the next stretch of a text, an empty one at its end.
using TextSource = std::function<std::string()>;

/// encode_text for a text that is not in memory: holds no more of it than a part and the stretch
/// that the source gave last. Stops early, after a part, when `is_enough` says so. `on_part`
/// receives every part before its ids come.
void encode_stream(const Tokenizer& tokenizer, const TextSource& source, bool add_special,
                   TokenWriter& out, const std::function<bool()>& is_enough = {},
                   const std::function<void(std::string_view)>& on_part = {},
                   std::size_t part_bytes = kPartBytes);

/// Ids of many texts, made by `num_threads` threads; the result does not depend on their number.
std::vector<IdList> encode_batch(const Tokenizer& tokenizer, std::span<const std::string> texts,
                                 bool add_special, std::int64_t num_threads);

struct OpenOptions {
  /// Read a sentencepiece model as its library does, whatever the files next to it say, and take it
  /// before a tokenizer.json.
  bool is_sentencepiece_raw = false;
  /// Give the ids of added tokens for which the model in the folder has no rows. Otherwise a text with
  /// such a token is a ConfigError, and vocab_size() does not count these tokens.
  bool gives_ids_without_rows = false;
};

/// Opens a tokenizer file or the one of a checkpoint (or run) folder, with the settings in the files
/// next to it. Errors: IoError; ConfigError for a setting that cannot be honoured.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path, const OpenOptions& options = {});

/// True if `path` is a file, or a checkpoint (or run) folder with a tokenizer in it.
bool has_tokenizer(const std::string& path);

}  // namespace lowbank::tokenizers
