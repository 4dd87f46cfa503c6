#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Revision of importance.safetensors, in its metadata under "lowbank_importance".
inline constexpr std::string_view kImportanceRevision = "1";

std::string importance_path(const std::string& folder);

/// One hash over all weight files of a checkpoint folder. It shows whether an importance file was
/// made for these weights. Errors: IoError.
std::string hash_weights(const std::string& folder);

/// One measure of importance.safetensors (docs/redistribute.md): values [R] by module path.
/// Errors: IoError if the file is missing, corrupt, or was made for other weights than those in the
/// folder; ConfigError if the file does not hold the measure.
std::map<std::string, std::vector<float>> read_importance_values(const std::string& folder,
                                                                 const std::string& measure);

}  // namespace lowbank
