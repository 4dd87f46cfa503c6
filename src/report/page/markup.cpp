#include "report/page/markup.h"

#include "core/text.h"

namespace lowbank::report {

std::string repair_utf8(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t bad = find_invalid_utf8(text);
    out.append(text.substr(0, bad));
    if (bad == std::string_view::npos) return out;
    out += '?';
    text.remove_prefix(bad + 1);
  }
}

std::string escape_markup(std::string_view text) {
  std::string out;
  const std::string valid = repair_utf8(text);
  out.reserve(valid.size());
  const auto add_line = [&](std::string_view line) {
    const std::string shown = printable(line);
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const char c = shown[i];
      switch (c) {
        case '&':
          out += "&amp;";
          break;
        case '<':
          out += "&lt;";
          break;
        case '>':
          out += "&gt;";
          break;
        case '"':
          out += "&quot;";
          break;
        case '\'':
          out += "&#39;";
          break;
        default:
          if (shown.compare(i, 2, "\xEF\xBF") == 0 && i + 2 < shown.size() &&
              (shown[i + 2] == '\xBE' || shown[i + 2] == '\xBF')) {  // U+FFFE and U+FFFF
            out += '?';
            i += 2;
          } else {
            out += c;
          }
      }
    }
  };
  std::string_view rest = valid;
  for (;;) {  // line ends and tabs stay
    const std::size_t end = rest.find_first_of("\n\t");
    add_line(rest.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += rest[end];
    rest.remove_prefix(end + 1);
  }
}

}  // namespace lowbank::report
