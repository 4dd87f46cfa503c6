#pragma once

#include <string>

#include "config/results/result_field.h"

namespace lowbank {

/// What a line of a table of experiments asks for (docs/estimate.md).
struct ExperimentTask {
  std::string model = {};
  Count batch_size = {};
  std::string system = {};
  std::string gpu = {};
  Count num_gpus = {};
  Count input_tokens = {};
  Count output_tokens = {};
  ResultFields fields();
};

/// How far a GPU's modelled times are from measured ones.
struct GpuErrorFigures {
  double median_frac = kNotReported;
  double p90_frac = kNotReported;
  ResultFields fields();
};

/// What `estimate` adds to the line in experiments.jsonl; times and energies by category.
struct ExperimentFigures {
  NamedNumbers time_s = {};
  NamedNumbers memory_energy_pj = {};
  NamedNumbers compute_energy_pj = {};
  std::string mode = {};
  GpuErrorFigures gpu_time_error = {};
  ResultFields fields();
};

}  // namespace lowbank
