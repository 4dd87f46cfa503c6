#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pim/cost.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank::pim {

/// How the weights of a stage of the pipeline (a decoder block, or a run of operators outside of
/// blocks) lie in processing units.
struct RramStage {
  std::int64_t first_operator = 0;
  std::int64_t num_operators = 0;
  std::int64_t num_pus = 0;  ///< whose modules it uses; own ones if it holds weights or caches
  bool holds_weights = false;
  bool holds_caches = false;
};

/// How weights, keys and values lie in an RRAM machine.
struct RramOptions {
  double slc_frac = 0;  ///< part of the ranks (dense: of the weights) in SLC cells; in [0, 1]
  std::int64_t num_chips = 0;   ///< 0 = as many as the weights and the caches need
  std::int64_t slc_slices = 0;  ///< most significant MLC slices of every weight that SLC cells hold
  /// Cells for one of the two's-complement code: 2 where levels are signed (sign_magnitude) or two
  /// arrays are subtracted (differential).
  std::int64_t cell_copies = 1;
  // Of an element of keys and values, and of states; nullopt = as activations.
  std::optional<std::int64_t> kv_bytes = {};
  std::optional<std::int64_t> state_bytes = {};
};

/// The least latency among `cost_on` of these numbers of chips; the first of equal ones.
template <class CostOn>
PhaseCost fastest_on(const std::vector<std::int64_t>& numbers_of_chips, const CostOn& cost_on) {
  PhaseCost best = cost_on(numbers_of_chips.front());
  for (std::size_t i = 1; i < numbers_of_chips.size(); ++i) {
    PhaseCost cost = cost_on(numbers_of_chips[i]);
    if (cost.latency_ns < best.latency_ns) best = std::move(cost);
  }
  return best;
}

/// Weight-stationary matrix products in analog RRAM arrays, the rest on digital modules.
///
/// Source:  HyFlexPIM (ISCA 2025), the closed forms listed in docs/estimate.md.
/// Differs: physical mode counts an SLC share of the *weights* (the paper's formula is exact only
///          for a share of the cells), prices SLC columns with the 6-bit ADC, gives every matrix
///          whole arrays of its own (the paper fills cells), so that all of them work at once, and
///          gives a block the units whose digital modules have room for its keys, values and
///          states. Blocks spread over no more chips than makes the phase faster. A stage of the
///          pipeline is a whole decoder block, since its linears share the block's modules.
class RramModel {
 public:
  /// Errors: ConfigError for components that take more power than the module they are parts of, and
  /// for more protected slices than a weight has.
  RramModel(const SystemPreset& preset, EstimateMode mode, const RramOptions& options);

  /// Bits of a weight that an average cell holds; at most mlc_bits.
  double effective_cell_bits() const { return machine_.cell_bits; }
  /// 64-row arrays that hold one weight matrix.
  double array_tasks(std::int64_t in_features, std::int64_t out_features) const;
  /// Time of one vector through a matrix on `num_modules` modules (may be a part of one).
  double product_ns(std::int64_t in_features, std::int64_t out_features, double num_modules) const;

  /// The stages of a phase on its chips, whose spare units the blocks share.
  /// Errors: ConfigError if weights and caches need more chips than there are, or absurdly many.
  std::vector<RramStage> plan(const Workload& workload, Phase phase) const;
  /// On the number of chips on which the phase takes the least time.
  PhaseCost price(const Workload& workload, Phase phase) const;

  /// The numbers of chips that blocks may spread over, from the least that they need on, with room
  /// for `longest_context` cached tokens.
  std::vector<std::int64_t> chips_to_try(const Workload& workload, Phase phase,
                                         std::int64_t longest_context) const;
  /// With the blocks on that many chips.
  PhaseCost price_on(std::int64_t used_chips, const Workload& workload, Phase phase,
                     std::int64_t longest_context) const;

 private:
  struct StageCost;
  struct Need;
  Need need_of(const Workload& workload, Phase phase, std::int64_t longest_context) const;
  double kept_bytes(const Workload& workload, const Operator& op,
                    std::int64_t longest_context) const;
  std::vector<RramStage> spread(const Workload& workload, Phase phase, const Need& need,
                                std::int64_t num_chips) const;
  PhaseCost price_stages(const Workload& workload, Phase phase,
                         const std::vector<RramStage>& stages) const;
  void add_linears(const Operator* first, const Operator* last, double num_modules,
                   StageCost& stage) const;
  std::int64_t chips_of(std::int64_t num_pus) const;
  void add_digital(const Operator& op, double num_pus, double num_tokens, StageCost& stage) const;
  StageCost price_stage(const std::vector<Operator>& operators, const RramStage& plan,
                        double num_tokens) const;

  // The preset's constants, read once, and what follows from them and the SLC share.
  struct Machine {
    std::int64_t pus_per_chip;
    double analog_modules_per_pu, arrays_per_module, array_rows, array_columns;
    double activation_bits, analog_cycle_ns;
    double digital_modules_per_pu, digital_clock_per_ns, digital_macs_per_cycle;
    double special_inputs_per_cycle, attend_cost_factor;
    double hop_ns;  // between stages
    double activation_bytes, chip_link_bytes_per_s, weight_bits;
    double digital_w_per_pu, area_mm2_per_pu;
    double array_w_per_module, driver_w_per_module, adc_w_per_module;
    double other_w_per_module;  // what these leave of a module's power
    double cell_bits;           // that an average cell holds
    double adc_energy_frac;     // of that of MLC columns
    double outputs_per_array;
    std::optional<double> kept_bytes_per_pu;  // of keys, values and states; if the preset tells it
    bool has_whole_arrays;                    // physical mode
  };
  static Machine read(const SystemPreset& preset, EstimateMode mode, const RramOptions& options);

  Machine machine_;
  RramOptions options_;
};

}  // namespace lowbank::pim
