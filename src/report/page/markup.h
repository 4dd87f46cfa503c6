#pragma once

#include <string>
#include <string_view>

namespace lowbank::report {

/// Text for the content or a quoted attribute of HTML and XML: & < > " ' become entities; what XML
/// 1.0 forbids (control characters, broken UTF-8) becomes '?'.
std::string escape_markup(std::string_view text);

/// The text with '?' in place of every byte that is not UTF-8.
std::string repair_utf8(std::string_view text);

}  // namespace lowbank::report
