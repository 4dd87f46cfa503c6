#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// Part of an AlignedText; `origins` is null where nobody asks for offsets.
struct TextView {
  std::string_view text;
  const Origin* origins = nullptr;

  TextView part(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), origins == nullptr ? nullptr : origins + begin};
  }
};

/// Writes a changed copy of `from` into `to`.
class TextRewriter {
 public:
  TextRewriter(TextView from, AlignedText& to) : from_(from), to_(to) { to_.clear(); }

  /// from[begin, end) as it is.
  void keep(std::size_t begin, std::size_t end) {
    to_.text.append(from_.text, begin, end - begin);
    if (from_.origins != nullptr) {
      to_.origins.insert(to_.origins.end(), from_.origins + begin, from_.origins + end);
    }
  }

  /// `text` in place of from[begin, end); with begin == end, an addition that stands for
  /// nothing.
  void replace(std::size_t begin, std::size_t end, std::string_view text) {
    to_.text.append(text);
    if (from_.origins == nullptr || text.empty()) return;
    const std::size_t size = from_.text.size();
    const std::uint32_t first = begin < size ? from_.origins[begin].begin
                                : begin == 0 ? 0
                                             : from_.origins[begin - 1].end;
    const std::uint32_t last = begin < end ? from_.origins[end - 1].end : first;
    to_.origins.insert(to_.origins.end(), text.size() - 1, Origin{first, first});
    to_.origins.push_back({first, last});
  }

  /// The same, but `text` begins where the last character of from[begin, end) begins.
  void replace_from_last(std::size_t begin, std::size_t end, std::string_view text) {
    replace(begin, end, text);
    if (from_.origins == nullptr || begin >= end) return;
    const std::uint32_t last = from_.origins[end - 1].begin;
    for (std::size_t i = to_.origins.size() - text.size(); i < to_.origins.size(); ++i) {
      to_.origins[i].begin = last;
    }
  }

 private:
  TextView from_;
  AlignedText& to_;
};

}  // namespace lowbank::tokenizers
