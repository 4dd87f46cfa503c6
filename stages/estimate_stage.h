#pragma once

#include "config/run_stage.h"
#include "config/stages/estimate_config.h"

namespace lowbank {

/// Prices every workload on every system: a table, estimate.json and, in a run folder,
/// estimate.csv; or the experiments, calls or operators of a file (pim/estimate_tables.h). Errors:
/// ConfigError, IoError (docs/estimate.md).
void estimate_stage(const EstimateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
