#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_reader.h"

namespace lowbank::tokenizers {

/// A token of a word and how many of the word's bytes it stands for.
struct WordToken {
  std::int32_t id;
  std::uint32_t size;
};

using TakeTokens = std::function<void(std::span<const WordToken>)>;

/// Cuts one word into tokens.
class WordModel {
 public:
  virtual ~WordModel() = default;
  /// Appends the tokens of `word`. Errors: IoError when a token that it must use is missing.
  virtual void tokenize(std::string_view word, std::vector<WordToken>& out) const = 0;
  /// tokenize() for a word of any length, in blocks.
  virtual void tokenize_long(std::string_view word, const TakeTokens& take) const {
    std::vector<WordToken> tokens;
    tokenize(word, tokens);
    take(tokens);
  }
  /// -1 if absent.
  virtual std::int32_t find(std::string_view token) const = 0;
  /// Text by id, "" for an id that no token has.
  virtual const std::vector<std::string>& texts() const = 0;
  virtual std::size_t num_tokens() const = 0;
  /// Whether words may come as bytes that stand for their characters (ByteLevel), and that from now
  /// on they do.
  virtual bool can_take_bytes() const { return false; }
  virtual void take_bytes() {}
  /// Whether a word may be cut between an ASCII letter and `mark`, with the same tokens.
  virtual bool can_cut_before(std::string_view /*mark*/) const { return false; }
};

/// `model` of a tokenizer.json: BPE, WordPiece, WordLevel.
///
/// Source:  huggingface/tokenizers 0.22 models (behaviour, checked by tests/parity).
/// Differs: Unigram and BPE with dropout are refused.
/// Errors:  IoError naming the key path.
std::unique_ptr<WordModel> make_word_model(const JsonReader& spec);

}  // namespace lowbank::tokenizers
