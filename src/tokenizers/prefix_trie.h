#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace lowbank::tokenizers {

/// Finds all texts of a set that begin at a place in a text.
class PrefixTrie {
 public:
  using Entry = std::pair<std::string_view, std::int32_t>;  // a text and its value, which is >= 0
  static constexpr std::uint32_t kRoot = 0;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  PrefixTrie() = default;
  /// Of equal texts the first counts; empty ones are left out.
  explicit PrefixTrie(std::vector<Entry> entries);

  bool is_empty() const { return nodes_.size() <= 1; }
  /// The node behind `node` for `byte`; kNone if there is none.
  std::uint32_t child(std::uint32_t node, char byte) const {
    const auto label = static_cast<unsigned char>(byte);
    if (node == kRoot) return first_[label];
    const Node& at = nodes_[node];
    for (std::uint32_t i = at.children; i < at.children + at.num_children; ++i) {
      if (nodes_[i].label == label) return i;
    }
    return kNone;
  }
  /// -1 where no text ends.
  std::int32_t value(std::uint32_t node) const { return nodes_[node].value; }
  /// Value and size of the longest text that `text` begins with; -1 if none.
  std::int32_t longest(std::string_view text, std::size_t& size) const;

 private:
  struct Node {
    std::uint32_t children = 0;  // of one node they stand in a row
    std::int32_t value = -1;
    std::uint16_t num_children = 0;
    unsigned char label = 0;
  };
  std::array<std::uint32_t, 256> first_ = [] {
    std::array<std::uint32_t, 256> none{};
    none.fill(kNone);
    return none;
  }();
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace lowbank::tokenizers
