#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pim/cost.h"
#include "pim/gpu.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank {

/// A machine that can be asked what a workload costs on it.
class System {
 public:
  virtual ~System() = default;
  /// Cost of one run of a phase that the workload has.
  /// Errors: ConfigError for sizes at which the figures overflow or the mode has no value.
  virtual PhaseCost price(const Workload& workload, Phase phase) const = 0;
  /// The preset, and after it those it refers to.
  virtual std::vector<SystemPreset> presets() const = 0;
  /// Of the GPU's part, where there is one.
  virtual std::optional<GpuTimeError> gpu_time_error() const { return std::nullopt; }
  /// What holds for every figure of this system.
  virtual std::vector<std::string> notes() const = 0;
};

/// `name` as for load_preset; `slc_frac` is of use to RRAM systems only, `corrections` to others.
/// Errors: as load_preset.
std::unique_ptr<System> make_system(const std::string& name, EstimateMode mode,
                                    const Corrections& corrections, double slc_frac);
/// With all corrections in physical mode, none in reference mode.
std::unique_ptr<System> make_system(const std::string& name, EstimateMode mode, double slc_frac);

/// Size of a workload's factored linears as a part of the dense ones they stand for.
struct FactoredSize {
  std::int64_t num_linears = 0;
  std::int64_t num_factored = 0;
  double factored_weights = 0;  ///< of the factored ones
  double dense_weights = 0;     ///< of the layers they replace
};
FactoredSize factored_size(const std::vector<Operator>& operators);

/// m x n x k x count over all operators of a phase.
std::int64_t num_macs(const std::vector<Operator>& operators);

}  // namespace lowbank
