#pragma once

#include "config/run_stage.h"
#include "config/stage_configs.h"
#include "pim/cost.h"

namespace lowbank {

/// The corrections that the mode and `correct` ask for. Errors: ConfigError for an unknown name.
Corrections corrections_of(const EstimateConfig& config);

/// Prices every line of a JSONL file of experiments: experiments.jsonl, each line with time and
/// energies by category added. Errors: ConfigError, IoError, naming the line (docs/estimate.md).
void estimate_experiments(const EstimateConfig& config, RunDir* out, Metrics& metrics);

/// Cycles and command counts of every line of a CSV file of calls: pim_calls.csv. Errors: as above.
void estimate_pim_calls(const EstimateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
