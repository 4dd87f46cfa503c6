#pragma once

#include "config/run_stage.h"
#include "config/stages/evaluate_config.h"

namespace lowbank {

/// `lowbank evaluate`: measures how well a model predicts (docs/evaluate.md).
void evaluate_stage(const EvaluateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
