#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json_reader.h"

namespace lowbank::tokenizers {

/// What a decoder is told in addition to the tokens.
struct DecodeState {
  bool at_start = true;     ///< the first token is the first of the text
  bool at_end = true;       ///< the last token is the last of the text
  bool keep_bytes = false;  ///< bytes that are no UTF-8 stay, for a stream that goes on
};

/// Turns the texts of tokens into the parts of a text, to be joined.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual void decode(std::vector<std::string>& tokens, const DecodeState& state) const = 0;
  /// Between which tokens a text's tokens may be cut into blocks, so that the decoded blocks join to
  /// the decoded text.
  enum class Blocks {
    kAnywhere,      ///< but not between two byte tokens (is_byte_token), and with `keep_bytes`
    kBetweenWords,  ///< where is_word_border() of the first step says so
    kNever,
  };
  virtual Blocks blocks() const { return Blocks::kAnywhere; }
  /// Whether `next` begins with a space and a letter, and `previous` ends with a letter.
  virtual bool is_word_border(const std::string& /*previous*/, const std::string& /*next*/) const {
    return false;
  }
  /// Whether a space between two letters stays, of which the second is `next`.
  virtual bool keeps_space_before(char /*next*/) const { return true; }
};

/// Whether a token may stand for a byte ("<0x0A>").
bool is_byte_token(const std::string& token);

/// `decoder` of a tokenizer.json.
///
/// Source:  huggingface/tokenizers 0.22 decoders (behaviour, checked by tests/parity).
/// Differs: CTC is refused.
/// Errors:  IoError naming the key path.
std::unique_ptr<TokenDecoder> make_token_decoder(const JsonReader& spec);

}  // namespace lowbank::tokenizers
