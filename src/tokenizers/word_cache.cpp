#include "tokenizers/word_cache.h"

namespace lowbank::tokenizers {

bool WordCache::find(std::string_view word, std::uint64_t hash,
                     std::span<const WordToken>& tokens) const {
  for (std::size_t at = hash % kNumSlots; slots_[at].word_size != 0; at = (at + 1) % kNumSlots) {
    const Slot& slot = slots_[at];
    if (slot.hash != hash || std::string_view(words_).substr(slot.word_at, slot.word_size) != word)
      continue;
    tokens = std::span(tokens_).subspan(slot.tokens_at, slot.num_tokens);
    return true;
  }
  return false;
}

void WordCache::add(std::string_view word, std::uint64_t hash, std::span<const WordToken> tokens) {
  if (num_words_ == kNumSlots / 2) {
    slots_.assign(kNumSlots, {});
    num_words_ = 0;
    words_.clear();
    tokens_.clear();
  }
  std::size_t at = hash % kNumSlots;
  while (slots_[at].word_size != 0) at = (at + 1) % kNumSlots;
  slots_[at] = {hash, static_cast<std::uint32_t>(words_.size()),
                static_cast<std::uint32_t>(tokens_.size()), static_cast<std::uint16_t>(word.size()),
                static_cast<std::uint16_t>(tokens.size())};
  words_ += word;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  ++num_words_;
}

}  // namespace lowbank::tokenizers
