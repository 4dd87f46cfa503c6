#include "config/folder_name.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {

void check_folder_name(const std::string& name, const std::string& where) {
  constexpr std::int64_t kMaxBytes = 100;  // file systems allow 255
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ' ' || static_cast<unsigned char>(c) >= 0x80;
  });
  const bool is_one_line = printable(name) == name;  // also: is UTF-8
  if (name.empty() || name.front() == '.' || !plain || !is_one_line ||
      std::ssize(name) > kMaxBytes) {
    throw ConfigError(fmt::format(
        "{}: wants letters, digits, spaces, '_', '-' and '.', not '.' first, at most {} bytes (it "
        "names a folder); got '{}'",
        where, kMaxBytes, name));
  }
}

}  // namespace lowbank
