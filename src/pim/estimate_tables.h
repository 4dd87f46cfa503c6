#pragma once

#include <string>
#include <vector>

#include "config/run_stage.h"
#include "pim/cost.h"

namespace lowbank::pim {

/// How the lines of a file are priced, and where the table goes.
struct TableOptions {
  EstimateMode mode = EstimateMode::kPhysical;
  std::vector<std::string> correct;  ///< corrections added to reference mode, by name
  std::string out;                   ///< the file to write if there is no run folder
  std::string trace;                 ///< pim calls: file for every command; empty: none
};

/// Prices every line of a JSONL file of experiments: experiments.jsonl, each line with time and
/// energies by category added. Errors: ConfigError, IoError, naming the line (docs/estimate.md).
void estimate_experiments(const std::string& path, const TableOptions& options, RunDir* out,
                          Metrics& metrics);

/// Cycles and command counts of every line of a CSV file of calls: pim_calls.csv. Errors: as above.
void estimate_pim_calls(const std::string& path, const TableOptions& options, RunDir* out,
                        Metrics& metrics);

/// Time of every line of a CSV file of GPU operators: operators.csv. Errors: as above.
void estimate_operators(const std::string& path, const TableOptions& options, RunDir* out,
                        Metrics& metrics);

/// Fits the times of the GPUs of a CSV file of measured operators: a preset for each, <name>.json.
/// A fit starts from the preset `base`, or if that is empty from the GPU's own.
/// Errors: as above; and for a single `out` file, or a base, if there are several GPUs.
void fit_gpus(const std::string& path, const std::string& base, const TableOptions& options,
              RunDir* out, Metrics& metrics);

}  // namespace lowbank::pim
