#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/prefix_trie.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/tokenizer.h"

namespace lowbank::tokenizers {

inline constexpr std::string_view kWordStart = "\xE2\x96\x81";  // U+2581 stands for a space

/// What sentencepiece makes of a text before it looks for pieces.
///
/// Source:  google/sentencepiece 0.1.97 normalizer (behaviour; the test compares ids and offsets
///          with the library's).
/// Differs: the normalised text comes stretch by stretch.
class SentencepieceNormalizer {
 public:
  explicit SentencepieceNormalizer(const SentencepieceModel& model);

  /// The text that stands for a space: U+2581, or a space where the model does not escape it.
  std::string_view mark() const { return escapes_ ? kWordStart : std::string_view(" "); }
  /// User-defined pieces, which are found in the text as they are; values are ids.
  const PrefixTrie& user_defined() const { return user_defined_; }
  /// The last place of `text` where normalisation may be cut, before a space between two ASCII
  /// letters or behind it; 0 if none.
  std::size_t find_cut(std::string_view text, bool behind_space) const;

  /// One text on its way.
  class Stream {
   public:
    /// A part that is not the first follows one that find_cut(text, behind_space) bounded.
    Stream(const SentencepieceNormalizer& owner, const TextPart& part, bool behind_space);
    /// Appends to `out` until it has at least `wanted` bytes; false once nothing is left. Where
    /// `origins` is not null, it receives the offset in the part of the character that each byte
    /// comes from.
    bool fill(std::size_t wanted, std::string& out, std::vector<std::uint32_t>* origins);
    /// The origin that follows the last one, once fill() has given false.
    std::uint32_t end_origin() const { return end_origin_; }

   private:
    void put(char c, std::uint32_t origin);
    void put_mark(std::uint32_t origin);

    const SentencepieceNormalizer& owner_;
    TextPart part_;
    std::size_t at_ = 0;
    bool was_space_ = false;
    bool has_started_ = false;
    bool is_finished_ = false;
    std::uint32_t end_origin_ = 0;
    // Marks that are dropped if nothing follows.
    std::vector<std::uint32_t> held_marks_;
    std::string* out_ = nullptr;
    std::vector<std::uint32_t>* origins_ = nullptr;
  };

 private:
  /// What the first characters of `text` become, and how many bytes they are.
  std::string_view normalize_prefix(std::string_view text, std::size_t& size) const;
  /// Size of the longest rule that `text` begins with and its result; 0 if none.
  std::size_t find_rule(std::string_view text, std::string_view& result) const;
  bool joins_letters_and_spaces() const;
  bool step(std::uint32_t& node, char byte) const;

  bool escapes_;
  bool adds_prefix_;
  bool removes_extra_;
  bool mark_is_suffix_;
  std::vector<std::uint32_t> units_;  // of the double array of rules
  std::string results_;
  PrefixTrie user_defined_;
  std::vector<std::string> user_defined_texts_;
  mutable std::once_flag cut_checked_;
  mutable bool can_cut_ = false;
};

}  // namespace lowbank::tokenizers
