#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <string_view>
#include <vector>

namespace lowbank::tokenizers {

/// A piece of a word while its neighbours are merged.
struct MergeSymbol {
  std::int32_t id = -1;     ///< token, if the rules use ids
  std::uint32_t begin = 0;  ///< in the window of the word that is being merged
  std::uint32_t size = 0;   ///< bytes; 0 once it is part of the symbol before it
  bool is_frozen = false;   ///< never merged
};

/// Byte pair encoding of words of any length in bounded memory.
///
/// Neighbours are merged in the order of (order, position). A long word is taken window by window.
/// What follows a window is unknown while it is merged, so that the symbol at its end may meet a
/// partner we do not see. Before any such meeting could take place (`Rules::earliest` says when at
/// the earliest), the symbol is set aside as unknown, and then its left neighbour has an unknown
/// partner. The merges of the others happen in the same order as in the whole word, since the order
/// of all merges, restricted to these symbols, is the order in which they would happen alone. What
/// is left of the unknown symbols when no merge is left is final, and the next window starts there.
///
/// Rules provides:
///   using Order = ...;                  // smaller merges first
///   // Appends the first symbols of the word from `begin` until they reach at least `end`; returns
///   // where they stop. Symbol offsets count from `begin`.
///   std::size_t split(std::string_view word, std::size_t begin, std::size_t end,
///                     std::vector<MergeSymbol>& out);
///   // Whether the pair merges, when, and what it becomes. `window` begins where the symbols do.
///   bool find(std::string_view window, const MergeSymbol& left, const MergeSymbol& right,
///             Order& order, std::int32_t& merged);
///   // A lower bound for the order of all merges of `left` with a right symbol that ends at
///   // `partner_end` or later, given the bytes of the word from the window's start on; nothing if
///   // there are none.
///   std::optional<Order> earliest(std::string_view window, const MergeSymbol& left,
///                                 std::size_t partner_end);
template <class Rules>
class PairMerger {
 public:
  explicit PairMerger(Rules& rules) : rules_(rules) {}

  /// Calls `take(symbol, text)` for the final symbols of `word`. Longer words than `window_bytes`
  /// are taken in windows.
  template <class Take>
  void merge(std::string_view word, std::size_t window_bytes, Take take) {
    std::size_t window = window_bytes;
    for (std::size_t at = 0; at < word.size();) {
      symbols_.clear();
      const std::size_t end =
          rules_.split(word, at, word.size() - at > window ? at + window : word.size(), symbols_);
      const bool is_open = end < word.size();
      const std::string_view rest = word.substr(at);
      const std::size_t num_final = merge_window(rest, end - at, is_open);
      std::size_t done = is_open ? 0 : end - at;
      for (std::size_t i = 0; i < num_final; ++i) {
        const MergeSymbol& symbol = symbols_[i];
        if (symbol.size == 0) continue;
        take(symbol, rest.substr(symbol.begin, symbol.size));
        if (is_open) done = symbol.begin + symbol.size;
      }
      at += done;
      window = done > 0 ? window_bytes : 2 * window;
    }
  }

 private:
  using Order = typename Rules::Order;
  static constexpr std::uint32_t kEnd = ~std::uint32_t{0};

  struct Candidate {
    Order order;
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t size;  // of both when they met; another size means that it is out of date
    std::int32_t merged;
    bool operator>(const Candidate& other) const {
      return order != other.order ? order > other.order : left > other.left;
    }
  };

  // How many of the symbols are final, those that were merged away included.
  std::size_t merge_window(std::string_view text, std::size_t text_end, bool is_open) {
    const auto count = static_cast<std::uint32_t>(symbols_.size());
    next_.resize(count);
    previous_.resize(count);
    heap_.clear();
    const auto meet = [&](std::uint32_t left, std::uint32_t right) {
      Candidate met{Order{}, left, right, symbols_[left].size + symbols_[right].size, -1};
      if (symbols_[left].is_frozen || symbols_[right].is_frozen ||
          !rules_.find(text, symbols_[left], symbols_[right], met.order, met.merged)) {
        return false;
      }
      heap_.push_back(met);
      return true;
    };
    const auto push = [&](std::uint32_t left, std::uint32_t right) {
      if (meet(left, right)) std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
    };
    for (std::uint32_t i = 0; i < count; ++i) {
      next_[i] = i + 1 < count ? i + 1 : kEnd;
      previous_[i] = i > 0 ? i - 1 : kEnd;
      if (i > 0) meet(i - 1, i);
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
    std::uint32_t unknown = count;   // from this symbol on nothing is certain
    std::uint32_t last = count - 1;  // the symbol before it; kEnd if none
    bool may_meet = false;           // whether the last symbol may meet what is unknown,
    Order meeting = Order{};         // and when at the earliest
    // A partner of the last symbol reaches at least so far: symbols only grow.
    std::size_t partner_end = text_end + 1;
    const auto look_ahead = [&] {
      may_meet = false;
      if (last == kEnd || symbols_[last].is_frozen) return;
      const std::optional<Order> earliest = rules_.earliest(text, symbols_[last], partner_end);
      may_meet = earliest.has_value();
      meeting = earliest.value_or(Order{});
    };
    if (is_open) look_ahead();
    for (;;) {
      if (may_meet && (heap_.empty() || meeting < heap_.front().order ||
                       (meeting == heap_.front().order && last < heap_.front().left))) {
        unknown = last;
        partner_end = symbols_[last].begin + symbols_[last].size;
        last = previous_[last];
        if (last == kEnd) return 0;
        look_ahead();
        continue;
      }
      if (heap_.empty()) return unknown;
      const Candidate top = heap_.front();
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.pop_back();
      if (top.right >= unknown || symbols_[top.left].size == 0 || symbols_[top.right].size == 0 ||
          symbols_[top.left].size + symbols_[top.right].size != top.size) {
        continue;
      }
      symbols_[top.left].id = top.merged;
      symbols_[top.left].size = top.size;
      symbols_[top.right].size = 0;
      const std::uint32_t after = next_[top.right];
      next_[top.left] = after;
      if (after != kEnd) previous_[after] = top.left;
      if (previous_[top.left] != kEnd) push(previous_[top.left], top.left);
      if (after != kEnd && after < unknown) push(top.left, after);
      if (is_open && top.right == last) {
        last = top.left;
        look_ahead();
      }
    }
  }

  Rules& rules_;
  std::vector<MergeSymbol> symbols_;
  std::vector<std::uint32_t> next_;
  std::vector<std::uint32_t> previous_;
  std::vector<Candidate> heap_;
};

}  // namespace lowbank::tokenizers
