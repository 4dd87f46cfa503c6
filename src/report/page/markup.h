#pragma once

#include <string>
#include <string_view>

namespace lowbank::report {

/// Text for the content or a quoted attribute of HTML and XML: & < > " ' become entities; foreign
/// text is shown as printable() shows it, but with its line ends and tabs; broken UTF-8 becomes '?'.
std::string escape_markup(std::string_view text);

/// The text with '?' in place of every byte that is not UTF-8.
std::string repair_utf8(std::string_view text);

}  // namespace lowbank::report
