#pragma once

#include <string>

namespace lowbank {

/// Checks a name from a recipe that becomes a folder: it must not lead elsewhere or be hidden.
/// Errors: ConfigError that begins with `where`.
void check_folder_name(const std::string& name, const std::string& where);

}  // namespace lowbank
