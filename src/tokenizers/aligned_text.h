#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {

/// Which original bytes a byte of the changed text comes from. The last byte of a replacement
/// carries the whole original character; the bytes before it carry nothing. `begin` only tells
/// whether the byte comes from the start of the text.
struct Origin {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

/// A text on its way through a tokenizer. `origins` has one entry for each byte, or no entries if
/// offsets are not needed.
struct AlignedText {
  std::string text;
  std::vector<Origin> origins;

  bool is_tracked() const { return !origins.empty(); }
  void clear() {
    text.clear();
    origins.clear();
  }
};

/// Part of an AlignedText, or of the original text, in which every character comes from itself.
struct TextView {
  static constexpr std::size_t kNoOffset = ~std::size_t{0};

  std::string_view text = {};
  const Origin* origins = nullptr;  ///< null for the original text, and where nobody asks
  std::size_t offset = kNoOffset;   ///< where the original text begins, if somebody asks
  bool is_continued = false;        ///< what stands before it has already been encoded

  bool is_tracked() const { return origins != nullptr || offset != kNoOffset; }
  /// Of a tracked text.
  Origin origin(std::size_t at) const {
    if (origins != nullptr) return origins[at];
    std::size_t begin = at;
    while (begin > 0 && is_utf8_continuation(text[begin])) --begin;
    const bool is_last = at + 1 == text.size() || !is_utf8_continuation(text[at + 1]);
    return {static_cast<std::uint32_t>(offset + begin),
            static_cast<std::uint32_t>(offset + (is_last ? at + 1 : begin))};
  }
  TextView part(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), origins == nullptr ? nullptr : origins + begin,
            offset == kNoOffset ? kNoOffset : offset + begin, is_continued && begin == 0};
  }
};

/// The view of what a step has made of `from`.
inline TextView view_of(const AlignedText& made, const TextView& from) {
  return {made.text, from.is_tracked() ? made.origins.data() : nullptr, TextView::kNoOffset,
          from.is_continued};
}

/// Writes a changed copy of `from` into `to`.
class TextRewriter {
 public:
  TextRewriter(TextView from, AlignedText& to) : from_(from), to_(to) { to_.clear(); }

  /// from[begin, end) as it is.
  void keep(std::size_t begin, std::size_t end) {
    to_.text.append(from_.text, begin, end - begin);
    if (from_.origins != nullptr) {
      to_.origins.insert(to_.origins.end(), from_.origins + begin, from_.origins + end);
    } else if (from_.is_tracked()) {
      for (std::size_t at = begin; at < end; ++at) to_.origins.push_back(from_.origin(at));
    }
  }

  /// `text` in place of from[begin, end); with begin == end, an addition that stands for
  /// nothing.
  void replace(std::size_t begin, std::size_t end, std::string_view text) {
    to_.text.append(text);
    if (!from_.is_tracked() || text.empty()) return;
    const std::size_t size = from_.text.size();
    const std::uint32_t first = begin < size ? from_.origin(begin).begin
                                : begin == 0 ? 0
                                             : from_.origin(begin - 1).end;
    const std::uint32_t last = begin < end ? from_.origin(end - 1).end : first;
    to_.origins.insert(to_.origins.end(), text.size() - 1, Origin{first, first});
    to_.origins.push_back({first, last});
  }

  /// The same, but `text` begins where the last character of from[begin, end) begins.
  void replace_from_last(std::size_t begin, std::size_t end, std::string_view text) {
    replace(begin, end, text);
    if (!from_.is_tracked() || begin >= end) return;
    const std::uint32_t last = from_.origin(end - 1).begin;
    for (std::size_t i = to_.origins.size() - text.size(); i < to_.origins.size(); ++i) {
      to_.origins[i].begin = last;
    }
  }

 private:
  TextView from_;
  AlignedText& to_;
};

}  // namespace lowbank::tokenizers
