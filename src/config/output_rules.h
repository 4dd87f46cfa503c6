#pragma once

#include "config/stage_config.h"

namespace lowbank {

/// Where the stage writes must not be what it reads: an output equal to an input, above one, or
/// inside one would replace or mix up the input's files. Inside the folder of a field with
/// `may_hold_output` is allowed: a report lies in the folder of the runs that it shows. Links are followed
/// on both sides.
///
/// Errors: ConfigError that names both paths.
void check_outputs(const StageConfig& config);

}  // namespace lowbank
