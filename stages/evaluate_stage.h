#pragma once

#include "config/run_stage.h"
#include "config/stages/evaluate_config.h"

namespace lowbank {

/// Work of `lowbank evaluate`.
void evaluate_stage(const EvaluateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
