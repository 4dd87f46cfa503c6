#pragma once

#include <filesystem>

#include "config/stage_config.h"

namespace lowbank {

/// Whether `path` lies inside `folder` or deeper; both are absolute and normal.
bool is_below(const std::filesystem::path& path, const std::filesystem::path& folder);

/// Checks that the stage does not write where it reads: an output equal to an input, above one or
/// inside one would replace or mix up the input's files. An output may lie inside the folder of a
/// field with `may_hold_output`, as a report does among its runs. Links are followed on both sides.
///
/// Errors: ConfigError that names both paths.
void check_outputs(const StageConfig& config);

}  // namespace lowbank
