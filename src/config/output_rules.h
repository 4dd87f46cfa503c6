#pragma once

#include <filesystem>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

/// Whether `path` lies inside `folder` or deeper; both are absolute and normal.
bool is_below(const std::filesystem::path& path, const std::filesystem::path& folder);

/// Checks that the stage does not write where it reads: an output equal to an input, above one or
/// inside one would replace or mix up the input's files. An output may lie inside the folder of a
/// field with `may_hold_output`, as a report does among its runs. Links are followed on both sides.
/// Nor is an output a file that the process has read already (the recipe, the part of a preset),
/// another output, or a record of the run.
///
/// Errors: ConfigError that names both paths.
void check_outputs(const StageConfig& config);

/// The part of check_outputs() that is about one file which a command writes: it is none of
/// opened_files(). Errors: ConfigError that begins with `key`.
void check_is_not_read(const std::string& key, const std::string& path);

}  // namespace lowbank
