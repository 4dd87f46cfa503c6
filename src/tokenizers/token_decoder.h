#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json_reader.h"

namespace lowbank::tokenizers {

/// What a decoder is told in addition to the tokens.
struct DecodeState {
  bool at_start = true;     ///< the first token is the first of the text
  bool keep_bytes = false;  ///< bytes that are no UTF-8 stay, for a stream that goes on
};

/// Turns the texts of tokens into the parts of a text, to be joined.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual void decode(std::vector<std::string>& tokens, const DecodeState& state) const = 0;
};

/// `decoder` of a tokenizer.json.
///
/// Source:  huggingface/tokenizers 0.22 decoders (behaviour, checked by tests/parity).
/// Differs: CTC is refused.
/// Errors:  IoError naming the key path.
std::unique_ptr<TokenDecoder> make_token_decoder(const JsonReader& spec);

}  // namespace lowbank::tokenizers
