#include "tokenizers/prefix_trie.h"

#include <algorithm>

namespace lowbank::tokenizers {

// Breadth first over the sorted texts, so that the children of a node stand in a row.
PrefixTrie::PrefixTrie(std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  struct Range {
    std::uint32_t node;
    std::size_t begin;
    std::size_t end;
  };
  std::vector<Range> level = {{kRoot, 0, entries.size()}};
  for (std::size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> deeper;
    for (const auto& [node, begin, end] : level) {
      std::size_t at = begin;
      while (at < end && entries[at].first.size() == depth) ++at;
      if (at > begin && depth > 0) nodes_[node].value = entries[begin].second;
      nodes_[node].children = static_cast<std::uint32_t>(nodes_.size());
      while (at < end) {
        const std::size_t first = at;
        const char label = entries[at].first[depth];
        while (at < end && entries[at].first[depth] == label) ++at;
        const auto child = static_cast<std::uint32_t>(nodes_.size());
        nodes_.push_back({.label = static_cast<unsigned char>(label)});
        ++nodes_[node].num_children;
        if (node == kRoot) first_[static_cast<unsigned char>(label)] = child;
        deeper.push_back({child, first, at});
      }
    }
    level = std::move(deeper);
  }
}

std::int32_t PrefixTrie::longest(std::string_view text, std::size_t& size) const {
  std::int32_t best = -1;
  std::uint32_t node = kRoot;
  for (std::size_t at = 0; at < text.size();) {
    node = child(node, text[at++]);
    if (node == kNone) break;
    if (nodes_[node].value >= 0) {
      best = nodes_[node].value;
      size = at;
    }
  }
  return best;
}

}  // namespace lowbank::tokenizers
