#include "pim/rram.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

// Times of a stage: of one token on its own, and of all tokens of the phase.
struct RramModel::StageCost {
  double single_ns = 0;
  Breakdown busy_ns;    // by category, all tokens
  Breakdown energy_pj;  // by component, all tokens
};

RramModel::RramModel(const SystemPreset& preset, EstimateMode mode, double slc_frac)
    : preset_(preset), mode_(mode), slc_frac_(slc_frac) {
  if (other_w_per_module() < 0) {
    throw ConfigError(fmt::format(
        "{}: constants.analog_power_w_per_pu: less than its arrays, drivers and ADCs take; got {}",
        preset_.file, preset_.value("analog_power_w_per_pu")));
  }
}

double RramModel::adc_w_per_module() const {
  return preset_.value("adcs_per_module") * preset_.value("mlc_adc_pj") /
         preset_.value("adc_conversion_ns") * 1e-3;
}

double RramModel::other_w_per_module() const {
  return preset_.value("analog_power_w_per_pu") / preset_.value("analog_modules_per_pu") -
         adc_w_per_module() -
         (preset_.value("array_power_mw_per_module") +
          preset_.value("driver_power_mw_per_module")) *
             1e-3;
}

double RramModel::effective_cell_bits() const {
  const double slc = preset_.value("slc_bits");
  const double mlc = preset_.value("mlc_bits");
  if (mode_ == EstimateMode::kReference) return slc_frac_ * slc + (1 - slc_frac_) * mlc;
  return 1 / (slc_frac_ / slc + (1 - slc_frac_) / mlc);  // cells per bit add up, not bits per cell
}

double RramModel::slc_column_frac() const {
  const double slc_cells = slc_frac_ / preset_.value("slc_bits");
  return slc_cells / (slc_cells + (1 - slc_frac_) / preset_.value("mlc_bits"));
}

double RramModel::array_tasks(std::int64_t in_features, std::int64_t out_features) const {
  const double outputs_per_array =
      preset_.value("array_columns") * effective_cell_bits() / preset_.value("weight_bits");
  return std::ceil(static_cast<double>(in_features) / preset_.value("array_rows")) *
         std::ceil(static_cast<double>(out_features) / outputs_per_array);
}

double RramModel::product_ns(std::int64_t in_features, std::int64_t out_features,
                             double num_modules) const {
  const double arrays = num_modules * preset_.value("arrays_per_module");
  const double waves = std::ceil(array_tasks(in_features, out_features) / arrays);
  return waves * preset_.value("activation_bits") * preset_.value("analog_cycle_ns");
}

std::vector<RramStage> RramModel::plan(const std::vector<Operator>& operators,
                                       std::int64_t num_layers) const {
  const double cells_per_pu = preset_.value("analog_modules_per_pu") *
                              preset_.value("arrays_per_module") * preset_.value("array_rows") *
                              preset_.value("array_columns");
  const double cells_per_weight = preset_.value("weight_bits") / effective_cell_bits();
  auto spare_pus = static_cast<std::int64_t>(preset_.value("pus_per_chip"));
  std::vector<RramStage> stages;
  for (std::size_t begin = 0; begin < operators.size();) {
    std::size_t end = begin;
    double num_weights = 0;
    while (end < operators.size() && operators[end].layer == operators[begin].layer) {
      const Operator& op = operators[end++];
      if (op.kind == OperatorKind::kLinear) {
        num_weights += static_cast<double>(op.n) * static_cast<double>(op.k);
      }
    }
    const double needed = std::ceil(num_weights * cells_per_weight / cells_per_pu);
    if (needed > 1e15) {
      throw ConfigError(fmt::format("operator '{}': its block needs {} processing units",
                                    operators[begin].name, needed));
    }
    RramStage stage = {.first_operator = static_cast<std::int64_t>(begin),
                       .num_operators = static_cast<std::int64_t>(end - begin),
                       .num_pus = std::max<std::int64_t>(static_cast<std::int64_t>(needed), 1),
                       .holds_weights = num_weights > 0};
    if (operators[begin].layer < 0 && stage.holds_weights) spare_pus -= stage.num_pus;
    stages.push_back(stage);
    begin = end;
  }
  // The blocks of a model smaller than a chip spread over the whole chip.
  if (num_layers > 0 && spare_pus > num_layers) {
    for (RramStage& stage : stages) {
      if (operators[static_cast<std::size_t>(stage.first_operator)].layer >= 0) {
        stage.num_pus = std::max(stage.num_pus, spare_pus / num_layers);
      }
    }
  }
  return stages;
}

// [first, last) run side by side: chains of one layer's products (the two of a factored one in
// sequence), which share the modules in proportion to their arrays.
void RramModel::add_linears(const Operator* first, const Operator* last, double num_modules,
                            StageCost& stage) const {
  double all_tasks = 0;
  for (const Operator* op = first; op != last; ++op) all_tasks += array_tasks(op->k, op->n);

  const double adc_w = adc_w_per_module();
  const double array_w = preset_.value("array_power_mw_per_module") * 1e-3;
  const double driver_w = preset_.value("driver_power_mw_per_module") * 1e-3;
  const double other_w = other_w_per_module();
  const double slc_saving =
      mode_ == EstimateMode::kPhysical
          ? slc_column_frac() * (1 - preset_.value("slc_adc_pj") / preset_.value("mlc_adc_pj"))
          : 0.0;

  double longest_single_ns = 0;
  double longest_busy_ns = 0;
  for (const Operator* chain = first; chain != last;) {
    const Operator* chain_end = chain;
    double chain_tasks = 0;
    while (chain_end != last && chain_end->name == chain->name) {
      chain_tasks += array_tasks(chain_end->k, chain_end->n);
      ++chain_end;
    }
    const double modules = num_modules * chain_tasks / all_tasks;
    double single_ns = 0;
    double busy_ns = 0;
    for (; chain != chain_end; ++chain) {
      const double vector_ns = product_ns(chain->k, chain->n, modules);
      const double vectors = static_cast<double>(chain->m) * static_cast<double>(chain->count);
      const double in_use = std::min(
          modules, std::ceil(array_tasks(chain->k, chain->n) / preset_.value("arrays_per_module")));
      const double module_ns = vector_ns * vectors * in_use;
      single_ns += vector_ns * static_cast<double>(chain->count);
      busy_ns += vector_ns * vectors;
      stage.energy_pj.add("adc", module_ns * adc_w * (1 - slc_saving) * 1e3);
      stage.energy_pj.add("drivers", module_ns * driver_w * 1e3);
      stage.energy_pj.add("arrays", module_ns * array_w * 1e3);
      stage.energy_pj.add("analog_other", module_ns * other_w * 1e3);
    }
    longest_single_ns = std::max(longest_single_ns, single_ns);
    longest_busy_ns = std::max(longest_busy_ns, busy_ns);
  }
  stage.single_ns += longest_single_ns;
  stage.busy_ns.add("gemm", longest_busy_ns);
}

void RramModel::add_digital(const Operator& op, double num_pus, double num_tokens,
                            StageCost& stage) const {
  const double modules = num_pus * preset_.value("digital_modules_per_pu");
  const double clock_per_ns = preset_.value("digital_clock_mhz") * 1e-3;
  const double outputs =
      static_cast<double>(op.m) * static_cast<double>(op.n) * static_cast<double>(op.count);
  const bool is_product = op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
  const bool is_attention = is_product || op.kind == OperatorKind::kSoftmax;
  double busy_ns = 0;
  if (op.k > 0) {
    const double factor =
        op.kind == OperatorKind::kAttend ? preset_.value("attend_cost_factor") : 1.0;
    busy_ns = static_cast<double>(op.macs()) * factor /
              (modules * preset_.value("digital_macs_per_cycle") * clock_per_ns);
  } else {
    busy_ns = outputs / (modules * preset_.value("special_inputs_per_cycle") * clock_per_ns);
  }
  // Attention spreads over all tokens; norms and the like may run for the last token only.
  const double rows = is_attention ? num_tokens : static_cast<double>(op.m);
  stage.single_ns += busy_ns / rows;
  stage.busy_ns.add(is_product ? "attention" : "others", busy_ns);
  stage.energy_pj.add("digital", busy_ns * num_pus * preset_.value("digital_power_w_per_pu") * 1e3);
}

RramModel::StageCost RramModel::price_stage(const std::vector<Operator>& operators,
                                            const RramStage& plan, double num_tokens) const {
  StageCost stage;
  const auto num_pus = static_cast<double>(plan.num_pus);
  const double modules = num_pus * preset_.value("analog_modules_per_pu");
  const Operator* op = operators.data() + plan.first_operator;
  const Operator* const end = op + plan.num_operators;
  while (op != end) {
    if (op->kind != OperatorKind::kLinear) {
      add_digital(*op++, num_pus, num_tokens, stage);
      continue;
    }
    const Operator* last = op;
    while (last != end && last->kind == OperatorKind::kLinear &&
           (last->name == op->name || (!op->group.empty() && last->group == op->group))) {
      ++last;
    }
    add_linears(op, last, modules, stage);
    op = last;
  }
  return stage;
}

PhaseCost RramModel::price(const Workload& workload, Phase phase) const {
  const std::vector<Operator>& operators = workload.operators(phase);
  const auto num_tokens = static_cast<double>(workload.tokens(phase));
  PhaseCost cost;
  double single_ns = 0;
  double period_ns = 0;
  std::int64_t num_pus = 0;
  double hidden_size = 0;
  for (const RramStage& part : plan(operators, workload.num_layers)) {
    const StageCost stage = price_stage(operators, part, num_tokens);
    double stage_single_ns = stage.single_ns;
    double stage_busy_ns = stage.busy_ns.total();
    if (part.holds_weights) {
      const double hop_ns =
          preset_.value("layer_transfer_cycles") / preset_.value("digital_clock_mhz") * 1e3;
      stage_single_ns += hop_ns;
      stage_busy_ns += hop_ns * num_tokens;
      cost.time_ns.add("transfer", hop_ns * num_tokens);
      if (__builtin_add_overflow(num_pus, part.num_pus, &num_pus)) {
        throw ConfigError("the workload needs more processing units than 63 bits can count");
      }
      const Operator& last =
          operators[static_cast<std::size_t>(part.first_operator + part.num_operators - 1)];
      if (last.layer >= 0) hidden_size = static_cast<double>(last.n);
    }
    cost.time_ns.add(stage.busy_ns);
    cost.energy_pj.add(stage.energy_pj);
    single_ns += stage_single_ns;
    period_ns = std::max(period_ns, stage_busy_ns / num_tokens);
  }

  const auto pus_per_chip = static_cast<std::int64_t>(preset_.value("pus_per_chip"));
  cost.num_chips = std::max<std::int64_t>((num_pus - 1) / pus_per_chip + 1, 1);
  const double link_ns = hidden_size * preset_.value("activation_bytes") /
                         preset_.value("chip_link_bytes_per_s") * 1e9;
  const auto crossings = static_cast<double>(cost.num_chips - 1);
  if (crossings > 0) {
    single_ns += crossings * link_ns;
    period_ns = std::max(period_ns, link_ns);
    cost.time_ns.add("transfer", crossings * link_ns * num_tokens);
  }

  // A prompt's tokens follow each other through the stages; in decode every sequence waits for its
  // own last token.
  cost.pipeline_period_ns = period_ns;
  cost.latency_ns = phase == Phase::kPrefill ? single_ns + (num_tokens - 1) * period_ns
                                             : std::max(single_ns, num_tokens * period_ns);
  cost.time_ns.scale(cost.latency_ns / cost.time_ns.total());
  cost.area_mm2 =
      static_cast<double>(cost.num_chips * pus_per_chip) *
      (preset_.value("analog_area_mm2_per_pu") + preset_.value("digital_area_mm2_per_pu"));
  for (const Operator& op : operators) {
    cost.weight_bytes += op.weight_bytes * static_cast<double>(op.count) *
                         preset_.value("weight_bits") / workload.weight_bits;
  }
  return cost;
}

}  // namespace lowbank
