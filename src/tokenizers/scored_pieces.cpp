#include "tokenizers/scored_pieces.h"

namespace lowbank::tokenizers {

const PrefixTrie& ScoredPieces::trie() const {
  std::call_once(made_, [&] {
    std::vector<PrefixTrie::Entry> entries;
    entries.reserve(ids_.size());
    for (const auto id : ids_) entries.emplace_back(texts_[static_cast<std::size_t>(id)], id);
    trie_.emplace(std::move(entries));
  });
  return *trie_;
}

}  // namespace lowbank::tokenizers
