#pragma once

#include "config/run_stage.h"
#include "config/stages/estimate_config.h"
#include "pim/cost.h"

namespace lowbank::pim {

/// The corrections that the mode and `correct` ask for. Errors: ConfigError for an unknown name.
Corrections corrections_of(const EstimateConfig& config);

/// Prices every line of a JSONL file of experiments: experiments.jsonl, each line with time and
/// energies by category added. Errors: ConfigError, IoError, naming the line (docs/estimate.md).
void estimate_experiments(const EstimateConfig& config, RunDir* out, Metrics& metrics);

/// Cycles and command counts of every line of a CSV file of calls: pim_calls.csv. Errors: as above.
void estimate_pim_calls(const EstimateConfig& config, RunDir* out, Metrics& metrics);

/// Time of every line of a CSV file of GPU operators: operators.csv. Errors: as above.
void estimate_operators(const EstimateConfig& config, RunDir* out, Metrics& metrics);

/// Fits the times of the GPUs of a CSV file of measured operators: a preset for each, <name>.json.
/// Errors: as above; and for a single `out` file if there are several GPUs.
void fit_gpus(const EstimateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank::pim
