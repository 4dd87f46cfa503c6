#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lowbank::report::testing {

/// "" for text whose elements are closed in order, whose attributes are quoted and which holds no
/// bare & or <; else a text that says what is wrong. Knows as much of XML as the report writes.
inline std::string markup_fault(std::string_view text) {
  static constexpr std::string_view kVoid[] = {"meta", "br"};
  std::vector<std::string> open;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '&') {
      const auto end = text.find(';', at);
      if (end == std::string_view::npos || end - at > 7) {
        return "bare & at: " + std::string(text.substr(at, 30));
      }
    }
    if (text[at] == '>') return "bare > at: " + std::string(text.substr(at, 30));
    if (text[at] != '<') {
      ++at;
      continue;
    }
    std::size_t end = at + 1;
    bool is_quoted = false;
    while (end < text.size() && (is_quoted || text[end] != '>')) {
      if (text[end] == '"') is_quoted = !is_quoted;
      if (text[end] == '<') return "< inside a tag: " + std::string(text.substr(at, 60));
      ++end;
    }
    if (end == text.size()) return "tag without end: " + std::string(text.substr(at, 60));
    const std::string_view tag = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.starts_with("!DOCTYPE") || tag.ends_with("/")) continue;
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) {
        return "</" + std::string(tag.substr(1)) + "> closes " +
               (open.empty() ? "nothing" : open.back());
      }
      open.pop_back();
      continue;
    }
    const std::string name(tag.substr(0, tag.find_first_of(" \n")));
    bool is_void = false;
    for (const auto each : kVoid) is_void |= name == each;
    if (is_void) continue;
    open.push_back(name);
    if (name == "style") at = text.find("</style>", at);  // CSS may hold >
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

}  // namespace lowbank::report::testing
