#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pim/workload.h"

namespace lowbank::pim {

/// How constants are applied: `kReference` reproduces the published simulators, quirks included;
/// `kPhysical` corrects what is known to be wrong.
enum class EstimateMode { kPhysical, kReference };

/// "physical" or "reference".
const char* mode_name(EstimateMode mode);

/// What physical mode corrects, one by one (docs/corrections.md says what each is and does).
struct Corrections {
  // Not explicit: a mode stands for all or none of them.
  Corrections(EstimateMode mode = EstimateMode::kPhysical);  // NOLINT(google-explicit-constructor)

  bool timings_in_ns;   ///< memory timings keep their nanoseconds when the clock changes
  bool refresh;         ///< refreshes are issued and take their time
  bool last_round;      ///< an incomplete last round of rows counts
  bool single_results;  ///< a result read counts once, not eight times and one more a row
  bool built_hardware;  ///< constants of the machines as built, not the reference's
  bool every_context;   ///< attention in memory is summed over all lengths, not interpolated
  bool fitted_gpu;      ///< GPU times by the rule fitted to measurement
  bool gpu_energy;      ///< register energy of every product of a batch; tiles as for the time
  bool fused_kernels;   ///< attention, and state updates of decode, as one GPU kernel each
  bool fitted_links;    ///< all-reduces by the rule fitted to measurement, with the links' energy
  bool static_power;    ///< a GPU's idle and active power
};

/// Names of the corrections, in the order above.
std::vector<std::string> correction_names();

/// Switches the correction of that name on. Errors: ConfigError for an unknown name.
void enable_correction(Corrections& corrections, const std::string& name);

/// Those of the mode, and the named ones. Errors: ConfigError for an unknown name.
Corrections make_corrections(EstimateMode mode, const std::vector<std::string>& added);

/// A figure split into named parts, in the order in which they were first added.
class Breakdown {
 public:
  void add(std::string_view name, double value) {
    for (auto& [known, sum] : parts_) {
      if (known == name) {
        sum += value;
        return;
      }
    }
    parts_.emplace_back(name, value);
  }
  void add(const Breakdown& other) {
    for (const auto& [name, value] : other.parts_) add(name, value);
  }
  void scale(double factor) {
    for (auto& part : parts_) part.second *= factor;
  }
  double total() const {
    double sum = 0;
    for (const auto& part : parts_) sum += part.second;
    return sum;
  }
  double part(std::string_view name) const {
    for (const auto& [known, value] : parts_) {
      if (known == name) return value;
    }
    return 0;
  }
  const std::vector<std::pair<std::string, double>>& parts() const { return parts_; }

 private:
  std::vector<std::pair<std::string, double>> parts_;
};

/// Where an operator's time is counted: gemm, attention, state_update, causal_conv1d, transfer or
/// others.
const char* time_category(OperatorKind kind);

/// Time and energy of one operator (all of its `count`).
struct OperatorCost {
  double latency_ns = 0;
  Breakdown energy_pj;  ///< by component
};

/// What an energy contains: quotients of energies make sense between equal ones only.
enum class EnergyAccounting {
  kDynamic,  ///< what the operators switch
  kTotal     ///< that, and the power that the machine draws meanwhile
};

/// "dynamic" or "total".
const char* accounting_name(EnergyAccounting accounting);

/// What one run of a phase costs on a system: a whole prompt, or one token of every sequence.
struct PhaseCost {
  double latency_ns = 0;
  Breakdown time_ns;    ///< by `time_category`; sums to latency_ns
  Breakdown energy_pj;  ///< by component; no parts: not known
  EnergyAccounting accounting = EnergyAccounting::kDynamic;  ///< of energy_pj
  double weight_bytes = 0;  ///< of the parameters read, in the system's own format
  double memory_bytes = 0;  ///< of all chips: parameters, caches and states; 0 = not told
  std::optional<double> memory_capacity_bytes;  ///< of all chips, where the preset tells it
  std::int64_t num_chips = 1;
  std::optional<double> area_mm2;  ///< of whole chips; of computing memories: what the units add
  std::optional<double> pipeline_period_ns;  ///< one token a period once the pipeline is full
  std::vector<std::string> notes;            ///< what a reader of the figures must know

  bool knows_energy() const { return !energy_pj.parts().empty(); }
};

}  // namespace lowbank::pim
