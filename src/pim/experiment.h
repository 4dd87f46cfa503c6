#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pim/cost.h"
#include "pim/gpu.h"
#include "pim/hbm_pim.h"

namespace lowbank::pim {

/// Generation of text as in the reference's figures: `input_tokens` are in the cache, and
/// `output_tokens` - 1 further ones are priced.
struct Experiment {
  std::string model;  ///< of reference_model_names()
  std::int64_t batch_size = 1;
  std::string system;  ///< of reference_system_names()
  std::string gpu;     ///< of reference_gpu_names()
  std::int64_t num_gpus = 1;
  std::int64_t input_tokens = 1;
  std::int64_t output_tokens = 2;
};

/// Of all GPUs together, by category.
struct ExperimentCost {
  struct Part {
    double time_s = 0;
    double memory_pj = 0;
    double compute_pj = 0;
  };
  std::map<std::string, Part> parts;

  double time_s() const;
  double energy_pj() const;
};

std::vector<std::string> reference_system_names();  ///< GPU, GPU+Q, GPU+PIM, Pimba, ...
std::vector<std::string> reference_gpu_names();     ///< A100, H100, B200

/// Name in configs/pim of a reference system's processing units ("unit-pimba"); "" for the systems
/// without. Errors: ConfigError for an unknown system.
std::string reference_unit_name(const std::string& system);

/// A system of the reference on a GPU of the reference.
class ExperimentSystem {
 public:
  /// Errors: ConfigError for unknown names (with suggestions).
  ExperimentSystem(const std::string& system, const std::string& gpu,
                   const Corrections& corrections);

  /// Errors: ConfigError for an unknown model, sizes below 1 or beyond 2^40, fewer than two output
  /// tokens, and calls without a value in the reference.
  ExperimentCost price(const Experiment& experiment) const;
  GpuTimeError gpu_time_error() const { return gpu_.time_error(); }

 private:
  struct Pricing;

  Corrections corrections_;
  GpuModel gpu_;
  std::unique_ptr<HbmPimModel> pim_;  ///< null for GPU and GPU+Q
  std::int64_t state_bytes_ = 2;
};

}  // namespace lowbank::pim
