#include "config/results/experiment_line.h"

namespace lowbank {

ResultFields ExperimentTask::fields() {
  return {ResultField("model", &model).required(),
          ResultField("batch_size", &batch_size).required(),
          ResultField("system", &system).required(),
          ResultField("gpu", &gpu).required(),
          ResultField("num_gpus", &num_gpus).required(),
          ResultField("input_tokens", &input_tokens).required(),
          ResultField("output_tokens", &output_tokens).required()};
}

ResultFields GpuErrorFigures::fields() {
  return {{"median_frac", &median_frac}, {"p90_frac", &p90_frac}};
}

ResultFields ExperimentFigures::fields() {
  return {{"time_s", &time_s},
          {"memory_energy_pj", &memory_energy_pj},
          {"compute_energy_pj", &compute_energy_pj},
          {"mode", &mode},
          {"gpu_time_error", &gpu_time_error}};
}

}  // namespace lowbank
