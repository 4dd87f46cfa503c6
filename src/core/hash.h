#pragma once

#include <string>
#include <string_view>

namespace lowbank {

/// XXH3-128 of the bytes, 32 hex digits. Detects change; it is no protection against an attacker.
std::string hash_bytes(std::string_view bytes);

/// XXH3-128 of a file's content. Errors: IoError.
std::string hash_file(const std::string& path);

}  // namespace lowbank
