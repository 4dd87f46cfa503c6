#pragma once

#include "config/run_stage.h"
#include "config/stages/generate_config.h"

namespace lowbank {

/// Work of `lowbank generate`.
void generate_stage(const GenerateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
