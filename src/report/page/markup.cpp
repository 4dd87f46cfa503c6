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
  for (std::size_t i = 0; i < valid.size(); ++i) {
    const char c = valid[i];
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
        if (valid.compare(i, 2, "\xEF\xBF") == 0 && i + 2 < valid.size() &&
            (valid[i + 2] == '\xBE' || valid[i + 2] == '\xBF')) {  // U+FFFE and U+FFFF
          out += '?';
          i += 2;
        } else if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
          out += '?';
        } else {
          out += c;
        }
    }
  }
  return out;
}

}  // namespace lowbank::report
