#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "config/stage_config.h"

namespace lowbank {

/// Lowbank's version, "0.1.0".
std::string version();

/// Everything that a stage's result depends on: its resolved settings (without threads and the
/// like), the content of its inputs, and Lowbank's version.
///
/// Returns {"settings": hash, "version": ..., "inputs": {path: {"size_bytes", "mtime_ns",
/// "hash"}}}. `known` is an earlier fingerprint: a file is not read again if its size and time are
/// as recorded there. Errors: IoError for an input that is missing.
nlohmann::ordered_json stage_fingerprint(const StageConfig& config,
                                         const nlohmann::ordered_json& known);

/// {name: size in bytes} of the files that a stage left in its run folder.
nlohmann::ordered_json describe_outputs(const std::string& folder);

/// True if every one of these files is still in the folder and has the recorded size.
bool has_outputs(const std::string& folder, const nlohmann::ordered_json& outputs);

/// True if both describe the same settings, version and input contents (times may differ).
bool same_fingerprint(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace lowbank
