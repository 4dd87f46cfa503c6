#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// Parses JSON (with // and /* */ comments when `allow_comments`), depth at most 64, no duplicate
/// keys. `source` names the file in errors. Errors: IoError with line and column.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& source,
                                  bool allow_comments = false);

/// parse_json over a file's text.
nlohmann::ordered_json read_json(const std::string& path, bool allow_comments = false);

/// Two-space indent and a final line end; the form of every JSON file we write.
std::string dump_json(const nlohmann::ordered_json& value);

}  // namespace lowbank
