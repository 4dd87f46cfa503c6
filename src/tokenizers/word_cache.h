#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/word_model.h"

namespace lowbank::tokenizers {

/// Tokens of the words met before; a few MiB, emptied when full.
class WordCache {
 public:
  /// Words longer than this come back too seldom.
  static constexpr std::size_t kMaxWordBytes = 64;

  /// False if `word` is not there.
  bool find(std::string_view word, std::uint64_t hash, std::span<const WordToken>& tokens) const;
  void add(std::string_view word, std::uint64_t hash, std::span<const WordToken> tokens);

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t word_at = 0;
    std::uint32_t tokens_at = 0;
    std::uint16_t word_size = 0;  // 0: free
    std::uint16_t num_tokens = 0;
  };
  static constexpr std::size_t kNumSlots = std::size_t{1} << 16;

  std::vector<Slot> slots_ = std::vector<Slot>(kNumSlots);
  std::size_t num_words_ = 0;
  std::string words_;
  std::vector<WordToken> tokens_;
};

}  // namespace lowbank::tokenizers
