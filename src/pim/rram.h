#pragma once

#include <cstdint>
#include <string>
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
  std::int64_t num_pus = 0;  ///< whose modules it uses; own ones if it holds weights
  bool holds_weights = false;
};

/// Weight-stationary matrix products in analog RRAM arrays, the rest on digital modules.
///
/// Source:  HyFlexPIM (ISCA 2025), the closed forms listed in docs/estimate.md.
/// Differs: physical mode counts an SLC share of the *weights* (the paper's formula is exact only
///          for a share of the cells) and prices SLC columns with the 6-bit ADC. A stage of the
///          pipeline is a whole decoder block, since its linears share the block's modules.
class RramModel {
 public:
  /// `slc_frac`: part of the ranks (of a dense layer: of the weights) in SLC cells; in [0, 1].
  /// `num_chips`: 0 = as many as the weights need.
  /// Errors: ConfigError for components that take more power than the module they are parts of.
  RramModel(const SystemPreset& preset, EstimateMode mode, double slc_frac,
            std::int64_t num_chips = 0);

  /// Bits of a weight that an average cell holds, in [slc_bits, mlc_bits].
  double effective_cell_bits() const { return machine_.cell_bits; }
  /// 64-row arrays that hold one weight matrix.
  double array_tasks(std::int64_t in_features, std::int64_t out_features) const;
  /// Time of one vector through a matrix on `num_modules` modules (may be a part of one).
  double product_ns(std::int64_t in_features, std::int64_t out_features, double num_modules) const;

  /// The stages of a model on its chips, whose spare units the blocks share.
  /// Errors: ConfigError if the weights need more chips than there are, or absurdly many.
  std::vector<RramStage> plan(const std::vector<Operator>& operators,
                              std::int64_t num_layers) const;
  PhaseCost price(const Workload& workload, Phase phase) const;

 private:
  struct StageCost;
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
  };
  static Machine read(const SystemPreset& preset, EstimateMode mode, double slc_frac);

  Machine machine_;
  std::int64_t num_chips_;
};

}  // namespace lowbank::pim
