#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/json_reader.h"
#include "tokenizers/aligned_text.h"

namespace lowbank::tokenizers {

/// A step that changes a text before it is cut into words.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Writes the changed text to `to` and gives true; false if it stays as it is.
  virtual bool apply(TextView from, AlignedText& to) const = 0;
  /// What a space becomes if a text may be cut before a space between two ASCII letters: the parts,
  /// of which all but the first are `is_continued`, become the parts of the whole, and the letters
  /// stay letters. Nothing if it may not be cut there.
  virtual std::optional<std::string> space_at_cut() const { return std::nullopt; }
  /// True if a text may be cut before any space or line end of ASCII: whatever stands there, the
  /// parts become the parts of the whole, and the second begins with white space.
  virtual bool keeps_white_space() const { return false; }
  /// True if a text may also be cut between two Chinese characters: they get spaces around them.
  virtual bool spaces_chinese() const { return false; }
};

/// `normalizer` of a tokenizer.json.
///
/// Source:  huggingface/tokenizers 0.22 normalizers (behaviour, checked by tests/parity).
/// Differs: Precompiled, Nmt and ByteLevel are refused.
/// Errors:  IoError naming the key path.
std::unique_ptr<Normalizer> make_normalizer(const JsonReader& spec);

}  // namespace lowbank::tokenizers
