#pragma once

#include "config/run_stage.h"
#include "config/stages/convert_config.h"

namespace lowbank {

/// Work of `lowbank convert`.
void convert_stage(const ConvertConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
