#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pim/cost.h"
#include "pim/gpu.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank::pim {

/// A machine that can be asked what a workload costs on it.
class System {
 public:
  virtual ~System() = default;
  /// Cost of one run of a phase that the workload has.
  /// Errors: ConfigError for sizes at which the figures overflow or the mode has no value.
  virtual PhaseCost price(const Workload& workload, Phase phase) const = 0;
  /// Sum over decode steps of one token each, of every sequence, that read `first`, `first` + 1,
  /// ... `last` cached tokens. Every length is priced: on GPUs each operator that reads the cache
  /// is, on other systems lengths between which the cost is a straight line are summed in closed
  /// form.
  virtual PhaseCost price_steps(const Workload& workload, std::int64_t first,
                                std::int64_t last) const;
  /// The preset, and after it those it refers to.
  virtual std::vector<SystemPreset> presets() const = 0;
  /// Of the GPU's part, where there is one.
  virtual std::optional<GpuTimeError> gpu_time_error() const { return std::nullopt; }
  /// What holds for every figure of this system.
  virtual std::vector<std::string> notes() const = 0;
};

/// What of a system is not in its preset.
struct SystemOptions {
  EstimateMode mode = EstimateMode::kPhysical;
  Corrections corrections = mode;  ///< of GPUs and their memory
  double slc_frac = 0.2;           ///< of RRAM: part of the weights in SLC cells; in [0, 1]
  std::int64_t slc_slices = 0;     ///< of RRAM: most significant slices of all weights in SLC cells
  std::int64_t cell_copies = 1;    ///< of RRAM: cells for one of the two's-complement code
  std::int64_t num_gpus = 1;       ///< tensor-parallel GPUs, with their memories
  std::int64_t num_chips = 0;      ///< of RRAM; 0 = as many as the weights need
  bool fuses_attention = true;     ///< on GPUs, where corrections have fused kernels
  std::string interconnect = {};   ///< of GPUs: a preset of kind link; "" = the GPU's own links
  // Of an element of keys and values, and of states; nullopt = the
  // system's own. Of RRAM, in its digital modules.
  std::optional<std::int64_t> kv_bytes = {};
  std::optional<std::int64_t> state_bytes = {};
};

/// `name` as for load_preset. Errors: as load_preset.
std::unique_ptr<System> make_system(const std::string& name, const SystemOptions& options);
/// The same from presets, in the order of System::presets.
std::unique_ptr<System> make_system(const std::vector<SystemPreset>& presets,
                                    const SystemOptions& options);

/// A prompt and the tokens generated after it.
struct GenerationCost {
  PhaseCost total;             ///< notes of the decode steps included
  double first_token_ns = 0;   ///< the prompt
  double later_tokens_ns = 0;  ///< all decode steps
  double last_token_ns = 0;    ///< the longest of them
};

/// Cost of a workload's prompt and `output_tokens` generated ones of each sequence: the prompt
/// gives the first, a decode step each later one, with one more token in the cache than the one
/// before. Errors: ConfigError unless the workload has both phases and 1 <= output_tokens <=
/// kMaxOutputTokens; those of System::price.
GenerationCost price_generation(const System& system, const Workload& workload,
                                std::int64_t output_tokens);

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

}  // namespace lowbank::pim
