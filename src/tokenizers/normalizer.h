#pragma once

#include <memory>

#include "core/json_reader.h"
#include "tokenizers/aligned_text.h"

namespace lowbank::tokenizers {

/// A step that changes a text before it is cut into words.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Writes the changed text to `to` and gives true; false if it stays as it is.
  virtual bool apply(TextView from, AlignedText& to) const = 0;
};

/// `normalizer` of a tokenizer.json.
///
/// Source:  huggingface/tokenizers 0.22 normalizers (behaviour, checked by tests/parity).
/// Differs: Precompiled, Nmt and ByteLevel are refused.
/// Errors:  IoError naming the key path.
std::unique_ptr<Normalizer> make_normalizer(const JsonReader& spec);

}  // namespace lowbank::tokenizers
