#pragma once

#include "config/run_stage.h"
#include "config/stage_configs.h"

namespace lowbank {

/// Prices every workload on every system: a table, estimate.json and, in a run folder,
/// estimate.csv. Errors: ConfigError, IoError (docs/estimate.md).
void estimate_stage(const EstimateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
