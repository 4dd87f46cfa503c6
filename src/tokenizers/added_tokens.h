#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/normalizer.h"
#include "tokenizers/word_model.h"

namespace lowbank::tokenizers {

/// A token that is found in a text before the text is cut into words.
struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool special = false;      ///< left out of decoded text
  bool normalized = false;   ///< found in the normalised text, not in the text as it is
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool single_word = false;  ///< only where no word character touches it
};

/// Finds tokens in a text: leftmost first, of those the longest.
///
/// Source:  huggingface/tokenizers 0.22 AddedVocabulary (behaviour, checked by tests/parity).
class TokenMatcher {
 public:
  TokenMatcher() = default;
  /// A token whose id is -1 is passed over as a whole where it is found.
  void add(std::string_view content, const AddedToken& token);

  /// Where a token was found, white space that it takes included.
  struct Match {
    std::size_t begin;
    std::size_t end;
    std::int32_t id;
  };
  bool is_empty() const { return tokens_.empty(); }
  /// Whether what is found, white space that it takes included, never reaches over a cut before a
  /// `space` between two ASCII letters.
  bool keeps_cuts(std::string_view space) const;
  /// The same of a cut before any white space, or between Chinese characters, where the white space
  /// itself is of no interest.
  bool keeps_word_cuts() const;
  /// Calls `plain(begin, end)` for non-empty text between tokens and `token(match)`, in order.
  template <class Plain, class Token>
  void split(std::string_view text, Plain plain, Token token) const {
    std::size_t from = 0;
    std::size_t done = 0;
    Match match{};
    while (from < text.size() && next(text, from, done, match)) {
      if (match.end <= match.begin) continue;  // white space that the token before has taken
      if (done < match.begin) plain(done, match.begin);
      token(match);
      done = match.end;
    }
    if (done < text.size()) plain(done, text.size());
  }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;  // by byte
    std::int32_t token = -1;
  };
  bool next(std::string_view text, std::size_t& from, std::size_t done, Match& match) const;
  std::int32_t find_longest(std::string_view text, std::size_t at, std::size_t& end) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> contents_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<bool, 256> is_first_byte_{};
};

/// `added_tokens` of a tokenizer.json.
///
/// Source:  huggingface/tokenizers 0.22 AddedVocabulary (behaviour, checked by tests/parity).
/// Differs: a token of which normalisation leaves nothing is never found; the peer finds it between
///          any two characters.
class AddedTokens {
 public:
  /// `spec` may be null. Without `finds_special`, special tokens are not found in texts. Errors:
  /// IoError naming the key path.
  AddedTokens(const JsonReader* spec, const WordModel& model, const Normalizer* normalizer,
              bool finds_special);

  const TokenMatcher& raw() const { return raw_; }
  const TokenMatcher& normalized() const { return normalized_; }
  /// By id; null if `id` was not added.
  const AddedToken* find(std::int64_t id) const;
  const AddedToken* find(std::string_view content) const;
  bool is_special(std::string_view content) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;  // by rising id
  std::vector<std::string> special_;
  TokenMatcher raw_;
  TokenMatcher normalized_;
};

}  // namespace lowbank::tokenizers
