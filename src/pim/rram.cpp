#include "pim/rram.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "pim/reshape.h"

namespace lowbank::pim {

namespace {

constexpr double kMostPus = 1e15;  // more are absurd, and their sums would not stay whole numbers

// Numbers of chips that blocks may spread over are tried one by one, then this factor apart. A larger
// limit adds numbers to try and takes none away, so that more chips never slow a phase down.
constexpr std::int64_t kTriedOneByOne = 16;
constexpr double kTriedFactor = 1.1;

}  // namespace

// Times of a stage: of one token on its own, and of all tokens of the phase.
struct RramModel::StageCost {
  double single_ns = 0;
  Breakdown busy_ns;    // by category, all tokens
  Breakdown energy_pj;  // by component, all tokens
};

// The units that each stage needs, before the blocks share what is left.
struct RramModel::Need {
  std::vector<RramStage> stages;
  std::int64_t num_pus = 0;
  std::int64_t block_pus = 0;   // of them, those of blocks
  std::int64_t num_blocks = 0;  // that hold weights or caches
};

RramModel::Machine RramModel::read(const SystemPreset& preset, EstimateMode mode,
                                   const RramOptions& options) {
  const auto value = [&](const char* key) { return preset.value(key); };
  Machine m = {};
  m.pus_per_chip = static_cast<std::int64_t>(value("pus_per_chip"));
  m.analog_modules_per_pu = value("analog_modules_per_pu");
  m.arrays_per_module = value("arrays_per_module");
  m.array_rows = value("array_rows");
  m.array_columns = value("array_columns");
  m.digital_modules_per_pu = value("digital_modules_per_pu");
  m.digital_clock_per_ns = value("digital_clock_mhz") * 1e-3;
  m.digital_macs_per_cycle = value("digital_macs_per_cycle");
  m.special_inputs_per_cycle = value("special_inputs_per_cycle");
  m.attend_cost_factor = value("attend_cost_factor");
  m.activation_bits = value("activation_bits");
  m.analog_cycle_ns = value("analog_cycle_ns");
  m.hop_ns = value("layer_transfer_cycles") / value("digital_clock_mhz") * 1e3;
  m.activation_bytes = value("activation_bytes");
  m.chip_link_bytes_per_s = value("chip_link_bytes_per_s");
  m.weight_bits = value("weight_bits");
  m.digital_w_per_pu = value("digital_power_w_per_pu");
  m.area_mm2_per_pu = value("analog_area_mm2_per_pu") + value("digital_area_mm2_per_pu");

  m.array_w_per_module = value("array_power_mw_per_module") * 1e-3;
  m.driver_w_per_module = value("driver_power_mw_per_module") * 1e-3;
  m.adc_w_per_module =
      value("adcs_per_module") * value("mlc_adc_pj") / value("adc_conversion_ns") * 1e-3;
  m.other_w_per_module =
      value("analog_power_w_per_pu") / m.analog_modules_per_pu - m.adc_w_per_module -
      (value("array_power_mw_per_module") + value("driver_power_mw_per_module")) * 1e-3;
  if (m.other_w_per_module < 0) {
    throw ConfigError(fmt::format(
        "{}: constants.analog_power_w_per_pu: less than its arrays, drivers and ADCs take; got {}",
        preset.file, value("analog_power_w_per_pu")));
  }

  const double slc_bits = value("slc_bits");
  const double mlc_bits = value("mlc_bits");
  const double num_slices = std::ceil(m.weight_bits / mlc_bits);
  if (static_cast<double>(options.slc_slices) > num_slices) {
    throw ConfigError(fmt::format("slc_slices: a weight of {} has {:.0f} slices; got {}",
                                  preset.name, num_slices, options.slc_slices));
  }
  // Of the weights that are not in SLC cells as a whole, the protected bits are.
  const double protected_frac =
      std::min(static_cast<double>(options.slc_slices) * mlc_bits / m.weight_bits, 1.0);
  const double slc_frac = options.slc_frac + (1 - options.slc_frac) * protected_frac;
  m.adc_energy_frac = 1;
  if (mode == EstimateMode::kReference) {
    m.cell_bits = slc_frac * slc_bits + (1 - slc_frac) * mlc_bits;
  } else {
    // Cells per bit add up, not bits per cell.
    m.cell_bits = 1 / (slc_frac / slc_bits + (1 - slc_frac) / mlc_bits);
    const double slc_cells = slc_frac / slc_bits;
    const double slc_column_frac = slc_cells / (slc_cells + (1 - slc_frac) / mlc_bits);
    m.adc_energy_frac = 1 - slc_column_frac * (1 - value("slc_adc_pj") / value("mlc_adc_pj"));
  }
  m.cell_bits /= static_cast<double>(options.cell_copies);
  m.outputs_per_array = m.array_columns * m.cell_bits / m.weight_bits;
  m.has_whole_arrays = mode == EstimateMode::kPhysical;
  const auto digital_arrays = preset.find("digital_arrays_per_module");
  const auto digital_rows = preset.find("digital_array_rows");
  const auto digital_columns = preset.find("digital_array_columns");
  if (m.has_whole_arrays && digital_arrays && digital_rows && digital_columns) {
    m.kept_bytes_per_pu =
        m.digital_modules_per_pu * *digital_arrays * *digital_rows * *digital_columns / 8;
  }
  return m;
}

RramModel::RramModel(const SystemPreset& preset, EstimateMode mode, const RramOptions& options)
    : machine_(read(preset, mode, options)), options_(options) {}

std::int64_t RramModel::chips_of(std::int64_t num_pus) const {
  return std::max<std::int64_t>((num_pus - 1) / machine_.pus_per_chip + 1, 1);
}

double RramModel::array_tasks(std::int64_t in_features, std::int64_t out_features) const {
  return std::ceil(static_cast<double>(in_features) / machine_.array_rows) *
         std::ceil(static_cast<double>(out_features) / machine_.outputs_per_array);
}

double RramModel::product_ns(std::int64_t in_features, std::int64_t out_features,
                             double num_modules) const {
  const double arrays = num_modules * machine_.arrays_per_module;
  const double waves = std::ceil(array_tasks(in_features, out_features) / arrays);
  return waves * machine_.activation_bits * machine_.analog_cycle_ns;
}

// Of a cache or state, with room for the longest context.
double RramModel::kept_bytes(const Workload& workload, const Operator& op,
                             std::int64_t longest_context) const {
  Operator longest = op;
  if (longest_context > workload.context && reads_context(op, workload.context)) {
    num_keys(longest) = longest_context;
  }
  const bool is_cache = op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
  const auto& asked = is_cache ? options_.kv_bytes : options_.state_bytes;
  const double bytes = asked && op.kind != OperatorKind::kConv ? static_cast<double>(*asked)
                                                               : machine_.activation_bytes;
  return kept_elements(longest, workload.batch) * bytes;
}

RramModel::Need RramModel::need_of(const Workload& workload, Phase phase,
                                   std::int64_t longest_context) const {
  const std::vector<Operator>& operators = workload.operators(phase);
  const double arrays_per_pu = machine_.analog_modules_per_pu * machine_.arrays_per_module;
  const double cells_per_pu = arrays_per_pu * machine_.array_rows * machine_.array_columns;
  const double cells_per_weight = machine_.weight_bits / machine_.cell_bits;
  Need need;
  for (std::size_t begin = 0; begin < operators.size();) {
    std::size_t end = begin;
    double num_weights = 0;
    double num_arrays = 0;
    double cache_bytes = 0;
    while (end < operators.size() && operators[end].layer == operators[begin].layer) {
      const Operator& op = operators[end++];
      if (machine_.kept_bytes_per_pu) cache_bytes += kept_bytes(workload, op, longest_context);
      if (op.kind != OperatorKind::kLinear) continue;
      num_weights +=
          static_cast<double>(op.n) * static_cast<double>(op.k) * static_cast<double>(op.count);
      num_arrays += array_tasks(op.k, op.n) * static_cast<double>(op.count);
    }
    double needed_pus = machine_.has_whole_arrays
                            ? std::ceil(num_arrays / arrays_per_pu)
                            : std::ceil(num_weights * cells_per_weight / cells_per_pu);
    if (cache_bytes > 0) {
      needed_pus = std::max(needed_pus, std::ceil(cache_bytes / *machine_.kept_bytes_per_pu));
    }
    if (static_cast<double>(need.num_pus) + needed_pus > kMostPus) {
      throw ConfigError(
          fmt::format("operator '{}': with it the model needs {:.3g} processing units",
                      operators[begin].name, static_cast<double>(need.num_pus) + needed_pus));
    }
    const RramStage stage = {
        .first_operator = static_cast<std::int64_t>(begin),
        .num_operators = static_cast<std::int64_t>(end - begin),
        .num_pus = std::max<std::int64_t>(static_cast<std::int64_t>(needed_pus), 1),
        .holds_weights = num_weights > 0,
        .holds_caches = cache_bytes > 0};
    if (stage.holds_weights || stage.holds_caches) {
      need.num_pus += stage.num_pus;
      if (operators[begin].layer >= 0) {
        need.block_pus += stage.num_pus;
        ++need.num_blocks;
      }
    }
    need.stages.push_back(stage);
    begin = end;
  }
  const std::int64_t needed_chips = chips_of(need.num_pus);
  if (options_.num_chips > 0 && options_.num_chips < needed_chips) {
    throw ConfigError(
        fmt::format("num_chips: the weights and caches need {} processing units, {} chips; got {} "
                    "with {} units",
                    need.num_pus, needed_chips, options_.num_chips,
                    options_.num_chips * machine_.pus_per_chip));
  }
  return need;
}

// Blocks share what the rest of the chips' units leave them: each at least `level`, as far as blocks
// that need more than that leave room for it.
std::vector<RramStage> RramModel::spread(const Workload& workload, Phase phase, const Need& need,
                                         std::int64_t num_chips) const {
  const std::vector<Operator>& operators = workload.operators(phase);
  const auto is_block = [&](const RramStage& stage) {
    return operators[static_cast<std::size_t>(stage.first_operator)].layer >= 0;
  };
  const std::int64_t available =
      num_chips * machine_.pus_per_chip - (need.num_pus - need.block_pus);
  std::int64_t level =
      available / std::max<std::int64_t>({workload.num_layers, need.num_blocks, 1});
  for (;;) {
    std::int64_t larger_pus = 0;
    std::int64_t num_raised = 0;
    for (const RramStage& stage : need.stages) {
      if (!(stage.holds_weights || stage.holds_caches) || !is_block(stage)) continue;
      if (stage.num_pus > level) {
        larger_pus += stage.num_pus;
      } else {
        ++num_raised;
      }
    }
    if (larger_pus + num_raised * level <= available) break;
    level = (available - larger_pus) / num_raised;
  }
  std::vector<RramStage> stages = need.stages;
  for (RramStage& stage : stages) {
    if (is_block(stage)) stage.num_pus = std::max(stage.num_pus, level);
  }
  return stages;
}

std::vector<RramStage> RramModel::plan(const Workload& workload, Phase phase) const {
  const Need need = need_of(workload, phase, workload.context);
  return spread(workload, phase, need,
                options_.num_chips > 0 ? options_.num_chips : chips_of(need.num_pus));
}

// [first, last) run side by side: chains of one layer's products (the two of a factored one in
// sequence), which share the modules in proportion to their arrays. The `count` equal matrices of
// an operator do so too. In reference mode each of these has its part of the chain's modules, which
// work in waves if they are too few, and takes whole modules of power. In physical mode every matrix has
// its own arrays, and the products that work at once share the modules that these arrays fill.
void RramModel::add_linears(const Operator* first, const Operator* last, double num_modules,
                            StageCost& stage) const {
  const auto tasks_of = [&](const Operator& op) {
    return array_tasks(op.k, op.n) * static_cast<double>(op.count);
  };
  double all_tasks = 0;
  for (const Operator* op = first; op != last; ++op) all_tasks += tasks_of(*op);

  std::vector<double> tasks_at;  // that work at once, by place in the chains
  for (const Operator* op = first; op != last;) {
    const Operator* const chain = op;
    for (std::size_t place = 0; op != last && op->name == chain->name; ++op, ++place) {
      if (place == tasks_at.size()) tasks_at.push_back(0);
      tasks_at[place] += tasks_of(*op);
    }
  }

  double longest_single_ns = 0;
  double longest_busy_ns = 0;
  for (const Operator* chain = first; chain != last;) {
    const Operator* chain_end = chain;
    double chain_tasks = 0;
    while (chain_end != last && chain_end->name == chain->name)
      chain_tasks += tasks_of(*chain_end++);
    const double chain_modules = num_modules * chain_tasks / all_tasks;
    double single_ns = 0;
    double busy_ns = 0;
    for (std::size_t place = 0; chain != chain_end; ++chain, ++place) {
      const auto count = static_cast<double>(chain->count);
      const auto vectors = static_cast<double>(chain->m);
      double vector_ns = machine_.activation_bits * machine_.analog_cycle_ns;
      double module_ns = 0;
      if (machine_.has_whole_arrays) {
        const double part = tasks_of(*chain) / tasks_at[place];
        module_ns =
            vector_ns * vectors * std::ceil(tasks_at[place] / machine_.arrays_per_module) * part;
      } else {
        const double modules = chain_modules / count;
        vector_ns = product_ns(chain->k, chain->n, modules);
        const double in_use = std::min(
            modules, std::ceil(array_tasks(chain->k, chain->n) / machine_.arrays_per_module));
        module_ns = vector_ns * vectors * in_use * count;
      }
      single_ns += vector_ns;
      busy_ns += vector_ns * vectors;
      stage.energy_pj.add("adc",
                          module_ns * machine_.adc_w_per_module * machine_.adc_energy_frac * 1e3);
      stage.energy_pj.add("drivers", module_ns * machine_.driver_w_per_module * 1e3);
      stage.energy_pj.add("arrays", module_ns * machine_.array_w_per_module * 1e3);
      stage.energy_pj.add("analog_other", module_ns * machine_.other_w_per_module * 1e3);
    }
    longest_single_ns = std::max(longest_single_ns, single_ns);
    longest_busy_ns = std::max(longest_busy_ns, busy_ns);
  }
  stage.single_ns += longest_single_ns;
  stage.busy_ns.add("gemm", longest_busy_ns);
}

void RramModel::add_digital(const Operator& op, double num_pus, double num_tokens,
                            StageCost& stage) const {
  const double modules = num_pus * machine_.digital_modules_per_pu;
  const double outputs =
      static_cast<double>(op.m) * static_cast<double>(op.n) * static_cast<double>(op.count);
  const bool is_product = op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
  const bool is_per_token =
      is_product || op.kind == OperatorKind::kStateUpdate || op.kind == OperatorKind::kSoftmax;
  double busy_ns = 0;
  if (op.k > 0) {
    double factor = op.kind == OperatorKind::kAttend ? machine_.attend_cost_factor : 1.0;
    // The modules multiply bytes; a wider element takes a pass for each of its bytes.
    if (is_product && options_.kv_bytes) factor *= static_cast<double>(*options_.kv_bytes);
    if (keeps_state(op.kind) && options_.state_bytes) {
      factor *= static_cast<double>(*options_.state_bytes);
    }
    busy_ns = static_cast<double>(op.macs()) * factor /
              (modules * machine_.digital_macs_per_cycle * machine_.digital_clock_per_ns);
  } else {
    busy_ns =
        outputs / (modules * machine_.special_inputs_per_cycle * machine_.digital_clock_per_ns);
  }
  // Attention and state updates spread over all tokens; norms and the like may run for the last
  // token only.
  const double rows = is_per_token ? num_tokens : static_cast<double>(op.m);
  stage.single_ns += busy_ns / rows;
  stage.busy_ns.add(time_category(op.kind), busy_ns);
  stage.energy_pj.add("digital", busy_ns * num_pus * machine_.digital_w_per_pu * 1e3);
}

RramModel::StageCost RramModel::price_stage(const std::vector<Operator>& operators,
                                            const RramStage& plan, double num_tokens) const {
  StageCost stage;
  const auto num_pus = static_cast<double>(plan.num_pus);
  const double modules = num_pus * machine_.analog_modules_per_pu;
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

std::vector<std::int64_t> RramModel::chips_to_try(const Workload& workload, Phase phase,
                                                  std::int64_t longest_context) const {
  const std::int64_t least = chips_of(need_of(workload, phase, longest_context).num_pus);
  const std::int64_t most = options_.num_chips > 0 ? options_.num_chips : least;
  if (!machine_.has_whole_arrays) return {most};
  std::vector<std::int64_t> tried = {least};
  while (tried.back() < most) {
    std::int64_t next = tried.back() + 1;
    if (next - least >= kTriedOneByOne) {
      next = std::max(next, static_cast<std::int64_t>(static_cast<double>(next) * kTriedFactor));
    }
    if (next > most) break;
    tried.push_back(next);
  }
  return tried;
}

PhaseCost RramModel::price_on(std::int64_t used_chips, const Workload& workload, Phase phase,
                              std::int64_t longest_context) const {
  const Need need = need_of(workload, phase, longest_context);
  PhaseCost cost = price_stages(workload, phase, spread(workload, phase, need, used_chips));
  if (!machine_.has_whole_arrays) return cost;
  if (used_chips < options_.num_chips) {
    cost.notes.push_back(
        fmt::format("the blocks spread over {} of the {} chips: more would add hops and no speed",
                    used_chips, options_.num_chips));
  }
  cost.memory_bytes = static_cast<double>(workload.num_params) * machine_.weight_bits / 8;
  for (const Operator& op : workload.operators(phase)) {
    cost.memory_bytes += kept_bytes(workload, op, longest_context);
  }
  return cost;
}

PhaseCost RramModel::price(const Workload& workload, Phase phase) const {
  return fastest_on(chips_to_try(workload, phase, workload.context), [&](std::int64_t used_chips) {
    return price_on(used_chips, workload, phase, workload.context);
  });
}

PhaseCost RramModel::price_stages(const Workload& workload, Phase phase,
                                  const std::vector<RramStage>& stages) const {
  const std::vector<Operator>& operators = workload.operators(phase);
  const auto num_tokens = static_cast<double>(workload.tokens(phase));
  PhaseCost cost;
  cost.accounting = EnergyAccounting::kTotal;  // power of the modules x time
  double single_ns = 0;
  double period_ns = 0;
  std::int64_t num_pus = 0;
  double hidden_size = 0;
  for (const RramStage& part : stages) {
    const StageCost stage = price_stage(operators, part, num_tokens);
    double stage_single_ns = stage.single_ns;
    double stage_busy_ns = stage.busy_ns.total();
    if (part.holds_weights) {
      const double hop_ns = machine_.hop_ns;
      stage_single_ns += hop_ns;
      stage_busy_ns += hop_ns * num_tokens;
      cost.time_ns.add("transfer", hop_ns * num_tokens);
      const Operator& last =
          operators[static_cast<std::size_t>(part.first_operator + part.num_operators - 1)];
      if (last.layer >= 0) hidden_size = static_cast<double>(last.n);
    }
    if (part.holds_weights || part.holds_caches) num_pus += part.num_pus;
    cost.time_ns.add(stage.busy_ns);
    cost.energy_pj.add(stage.energy_pj);
    single_ns += stage_single_ns;
    period_ns = std::max(period_ns, stage_busy_ns / num_tokens);
  }

  const std::int64_t chips_in_use = chips_of(num_pus);
  cost.num_chips = options_.num_chips > 0 ? options_.num_chips : chips_in_use;
  const double link_ns =
      hidden_size * machine_.activation_bytes / machine_.chip_link_bytes_per_s * 1e9;
  const auto crossings = static_cast<double>(chips_in_use - 1);
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
      static_cast<double>(cost.num_chips * machine_.pus_per_chip) * machine_.area_mm2_per_pu;
  for (const Operator& op : operators) {
    // What a format of its own takes in the workload says nothing of what it takes here.
    const double bits =
        op.weight_format.empty()
            ? 8 * op.weight_bytes / workload.weight_bits * machine_.weight_bits
            : static_cast<double>(op.n) * static_cast<double>(op.k) * machine_.weight_bits;
    cost.weight_bytes += bits / 8 * static_cast<double>(op.count);
  }
  return cost;
}

}  // namespace lowbank::pim
