#pragma once

#include "config/run_stage.h"
#include "config/stage_configs.h"

namespace lowbank {

/// Work of `lowbank convert`.
void convert_stage(const ConvertConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
