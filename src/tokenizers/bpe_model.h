#pragma once

#include <array>
#include <mutex>
#include <optional>

#include "tokenizers/prefix_trie.h"
#include "tokenizers/vocabulary.h"
#include "tokenizers/word_model.h"

namespace lowbank::tokenizers {

/// Two neighbours that become one token.
struct BpeMerge {
  std::int32_t left;
  std::int32_t right;
  std::int32_t rank;  // lowest first; among equals the leftmost in the word
  std::int32_t merged;
};

struct BpeOptions {
  std::string unk_token = {};                  ///< stands for what has no token; "" drops it
  std::string continuing_subword_prefix = {};  ///< of all characters of a word but the first
  std::string end_of_word_suffix = {};         ///< of the last character of a word
  bool fuse_unk = false;                       ///< unknown neighbours become one token
  bool byte_fallback = false;                  ///< unknown characters become tokens like <0x0A>
  bool ignore_merges = false;                  ///< a word that is a token needs no merges
  /// Longer words are merged window by window; the result does not depend on it.
  std::size_t window_bytes = std::size_t{1} << 15;
};

/// Byte pair encoding: from characters, the neighbours of lowest rank are merged until none is
/// left.
class BpeModel : public WordModel {
 public:
  BpeModel(std::unique_ptr<Vocabulary> vocabulary, const std::vector<BpeMerge>& merges,
           BpeOptions options, std::string name);

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override;
  void tokenize_long(std::string_view word, const TakeTokens& take) const override;
  std::int32_t find(std::string_view token) const override { return vocabulary_->find(token); }
  const std::vector<std::string>& texts() const override { return vocabulary_->texts(); }
  std::size_t num_tokens() const override { return vocabulary_->ids().size(); }
  bool can_take_bytes() const override;
  void take_bytes() override;
  bool can_cut_before(std::string_view mark) const override;

 private:
  /// Rank and result of a pair, by open addressing.
  struct MergeSlot {
    std::uint64_t pair = kNoPair;
    std::int32_t rank = 0;
    std::int32_t merged = 0;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};

  const MergeSlot* find_merge(std::int32_t left, std::int32_t right) const;
  class RankRules;
  /// Appends the symbols of word[begin, ...) until they reach `end` at least and no unknown one is
  /// left to be fused with more; returns where they stop.
  std::size_t add_symbols(std::string_view word, std::size_t begin, std::size_t end,
                          std::vector<WordToken>& out) const;
  std::size_t add_byte_symbols(std::string_view word, std::size_t begin, std::size_t end,
                               std::vector<WordToken>& out) const;
  std::size_t add_character_symbols(std::string_view word, std::size_t from, std::size_t to,
                                    std::vector<WordToken>& out) const;
  bool add_bytes(std::string_view text, std::vector<WordToken>& out) const;
  std::int32_t unk_id() const;
  void merge_short(std::vector<WordToken>& symbols, std::size_t first) const;
  /// Whether `word` is a token that needs no merges.
  std::optional<WordToken> find_whole(std::string_view word) const;
  template <class Take>
  void merge_long(std::string_view word, Take take) const;
  bool can_take_windows() const;

  std::unique_ptr<Vocabulary> vocabulary_;
  BpeOptions options_;
  std::string name_;
  std::vector<MergeSlot> merges_;
  // Once words are bytes: tokens as bytes, and the token of each byte.
  std::vector<std::string> byte_texts_;
  std::optional<StringIndex> byte_index_;
  std::array<std::int32_t, 256> byte_ids_{};
  // Made for the first word that is longer than a window: the rank at which a token can be made, by
  // its text. Absent where words cannot be taken in windows.
  mutable std::once_flag windows_checked_;
  mutable std::optional<PrefixTrie> ranks_by_text_;
};

}  // namespace lowbank::tokenizers
