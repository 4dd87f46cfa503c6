#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/pair_merger.h"
#include "tokenizers/prefix_trie.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {

/// Pieces that neighbours merge into, the piece with the best score first (sentencepiece's BPE).
class ScoredPieces {
 public:
  /// `ids` are the pieces that count; `texts` and `scores` are by id and must outlive this object.
  ScoredPieces(const std::vector<std::string>& texts, const std::vector<float>& scores,
               std::vector<std::int32_t> ids)
      : texts_(texts), scores_(scores), ids_(std::move(ids)), index_(texts, ids_) {}

  /// -1 if absent.
  std::int32_t find(std::string_view text) const { return index_.find(text); }

  /// The rules for PairMerger; `first_symbol(text)` returns the first symbol of a text.
  template <class Split>
  class Rules {
   public:
    using Order = float;
    Rules(const ScoredPieces& pieces, Split first_symbol)
        : pieces_(pieces), first_symbol_(first_symbol) {}

    std::size_t split(std::string_view word, std::size_t begin, std::size_t end,
                      std::vector<MergeSymbol>& out) const {
      std::size_t at = begin;
      while (at < end) {
        MergeSymbol symbol = first_symbol_(word.substr(at));
        symbol.begin = static_cast<std::uint32_t>(at - begin);
        at += symbol.size;
        out.push_back(symbol);
      }
      return at;
    }
    bool find(std::string_view window, const MergeSymbol& left, const MergeSymbol& right,
              Order& order, std::int32_t& merged) const {
      merged = pieces_.find(window.substr(left.begin, left.size + right.size));
      if (merged < 0) return false;
      order = -pieces_.scores_[static_cast<std::size_t>(merged)];
      return true;
    }
    std::optional<Order> earliest(std::string_view window, const MergeSymbol& left,
                                  std::size_t partner_end) const {
      const PrefixTrie& trie = pieces_.trie();
      std::optional<Order> best;
      std::uint32_t node = PrefixTrie::kRoot;
      for (std::size_t at = left.begin; at < window.size(); ++at) {
        node = trie.child(node, window[at]);
        if (node == PrefixTrie::kNone) break;
        const std::int32_t id = trie.value(node);
        if (id < 0 || at + 1 < partner_end) continue;
        const Order order = -pieces_.scores_[static_cast<std::size_t>(id)];
        if (!best || order < *best) best = order;
      }
      return best;
    }

   private:
    const ScoredPieces& pieces_;
    Split first_symbol_;
  };

 private:
  const PrefixTrie& trie() const;

  const std::vector<std::string>& texts_;
  const std::vector<float>& scores_;
  std::vector<std::int32_t> ids_;
  StringIndex index_;
  mutable std::once_flag made_;
  mutable std::optional<PrefixTrie> trie_;  // made for the first long word
};

}  // namespace lowbank::tokenizers
