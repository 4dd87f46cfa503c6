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
/// Returns {"settings": hash, "version": ..., "inputs": {path: {"size_bytes", "ctime_ns",
/// "hash"}}}. `known` is an earlier fingerprint, perhaps a damaged one: its files are inputs too
/// (see add_opened_files), and a file is not read again if its size and time are as recorded there.
/// Errors: IoError for an input that is missing.
nlohmann::ordered_json stage_fingerprint(const StageConfig& config,
                                         const nlohmann::ordered_json& known);

/// Adds every file that this process has read or missed (core/opened_files.h) and that is neither
/// there already nor in the stage's own folder. A file that ships with Lowbank is named
/// "installation:configs/..." and looked up again when the fingerprint is compared. A place where
/// the stage found no file is recorded as {"missing": true}.
void add_opened_files(nlohmann::ordered_json& fingerprint, const std::string& own_folder);

/// {name: {"size_bytes", "ctime_ns", "hash"}} of the files that a stage left in its run folder, and
/// of its page, which lies outside ("" if it writes none). Names are relative to the folder.
nlohmann::ordered_json describe_outputs(const std::string& folder, const std::string& page);

/// True if every one of these files is still there with the recorded content, and the page is one
/// of them. A file whose size and time are as recorded is not read again.
bool has_outputs(const std::string& folder, const std::string& page,
                 const nlohmann::ordered_json& outputs);

/// True if both describe the same settings, version and input contents (times may differ).
bool same_fingerprint(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace lowbank
