#pragma once

#include <string>
#include <vector>

#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank::pim {

/// A measured kernel.
struct CpuSample {
  std::string kernel;  ///< those of one kernel are fitted together: "linear", "scan", ...
  std::string name;    ///< for people: "512x1536x576"
  std::vector<Operator> operators;
  double cached_frac = 0;  ///< as of cpu_terms
  double time_ns = 0;
  bool is_held_out = false;  ///< not fitted to
};

/// |modelled / measured - 1| of samples.
struct CpuKernelError {
  std::string kernel;
  std::int64_t num_fitted = 0;
  std::int64_t num_held_out = 0;
  double fitted_median_frac = 0;
  double held_out_median_frac = 0;
  double held_out_max_frac = 0;
};

struct CpuFit {
  SystemPreset preset;  ///< errors of whole models still 0
  std::vector<CpuKernelError> errors;
};

/// Modelled time of a sample's operators.
double cpu_sample_ns(const SystemPreset& preset, const CpuSample& sample);

/// A CPU preset with the constants, none negative, that have about the least sum of
/// |modelled / measured - 1| over the samples that are not held out. Kernels are fitted in the
/// order in which they first appear; later ones take over what earlier ones have settled, and a
/// constant that no sample has a part in is missing. `source` says on what machine they were
/// measured. Errors: std::invalid_argument for times that are not above 0.
CpuFit fit_cpu(const std::vector<CpuSample>& samples, double cache_bytes, double element_bytes,
               const std::string& about, const std::string& source);

/// Writes `errors_frac` of whole models, |modelled / measured - 1|, into the preset: their median
/// and largest. `source` as of fit_cpu.
void set_model_errors(SystemPreset& preset, std::vector<double> errors_frac,
                      const std::string& source);

}  // namespace lowbank::pim
