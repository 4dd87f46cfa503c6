#include "pim/estimator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "pim/cpu_system.h"
#include "pim/gpu_system.h"
#include "pim/reshape.h"
#include "pim/rram.h"

namespace lowbank::pim {
namespace {

using StepCost = std::function<PhaseCost(std::int64_t context)>;

constexpr double kStraight = 1e-12;  // of the cost: what is a straight line but for rounding

// Sums the costs of steps that are asked for by their cached tokens.
class StepSum {
 public:
  explicit StepSum(const StepCost& cost_at) : cost_at_(cost_at) {}

  PhaseCost over(std::int64_t first, std::int64_t last) {
    const PhaseCost high = at(last);
    if (first == last) return high;
    PhaseCost sum = high;  // notes, and what the longest cache decides
    const PhaseCost steps = summed(first, at(first), last, high);
    sum.time_ns = steps.time_ns;
    sum.energy_pj = steps.energy_pj;
    sum.latency_ns = sum.time_ns.total();
    sum.weight_bytes *= static_cast<double>(last - first + 1);
    return sum;
  }

 private:
  PhaseCost at(std::int64_t context) const {
    stop_if_interrupted();
    return cost_at_(context);
  }
  static bool lies_between(const PhaseCost& middle, const PhaseCost& low, const PhaseCost& high) {
    const auto is_mean = [](double value, double a, double b) {
      return std::abs(value - (a + b) / 2) <= kStraight * std::abs(value);
    };
    return is_mean(middle.latency_ns, low.latency_ns, high.latency_ns) &&
           is_mean(middle.energy_pj.total(), low.energy_pj.total(), high.energy_pj.total());
  }
  // Costs that grow convexly and lie on the chord at its middle lie on it everywhere.
  PhaseCost summed(std::int64_t first, const PhaseCost& low, std::int64_t last,
                   const PhaseCost& high) {
    const std::int64_t middle = first + (last - first) / 2;
    if (last - first <= 1) {
      PhaseCost sum = high;
      if (first != last) {
        sum.time_ns.add(low.time_ns);
        sum.energy_pj.add(low.energy_pj);
      }
      return sum;
    }
    if ((last - first) % 2 == 1) {
      PhaseCost sum = summed(first, low, last - 1, at(last - 1));
      sum.time_ns.add(high.time_ns);
      sum.energy_pj.add(high.energy_pj);
      return sum;
    }
    const PhaseCost centre = at(middle);
    if (lies_between(centre, low, high)) {
      PhaseCost sum = centre;
      const auto steps = static_cast<double>(last - first + 1);
      sum.time_ns.scale(steps);
      sum.energy_pj.scale(steps);
      return sum;
    }
    PhaseCost sum = summed(first, low, middle, centre);
    const PhaseCost rest = summed(middle + 1, at(middle + 1), last, high);
    sum.time_ns.add(rest.time_ns);
    sum.energy_pj.add(rest.energy_pj);
    return sum;
  }

  const StepCost& cost_at_;
};

PhaseCost sum_of_steps(std::int64_t first, std::int64_t last, const StepCost& cost_at) {
  return StepSum(cost_at).over(first, last);
}

class RramSystem : public System {
 public:
  RramSystem(SystemPreset preset, const SystemOptions& options)
      : preset_(std::move(preset)),
        options_(options),
        rram_(preset_, options.mode,
              {.slc_frac = options.slc_frac,
               .num_chips = options.num_chips,
               .slc_slices = options.slc_slices,
               .cell_copies = options.cell_copies,
               .kv_bytes = options.kv_bytes,
               .state_bytes = options.state_bytes}) {}

  PhaseCost price(const Workload& workload, Phase phase) const override {
    PhaseCost cost = rram_.price(workload, phase);
    add_notes(workload, phase, cost);
    return cost;
  }
  // The units that the last step needs are there from the first one on.
  PhaseCost price_steps(const Workload& workload, std::int64_t first,
                        std::int64_t last) const override {
    const std::vector<std::int64_t> chips = rram_.chips_to_try(workload, Phase::kDecode, last);
    PhaseCost sum = fastest_on(chips, [&](std::int64_t used_chips) {
      return sum_of_steps(first, last, [&](std::int64_t context) {
        return rram_.price_on(used_chips, reshape_workload(workload, workload.batch, context),
                              Phase::kDecode, last);
      });
    });
    add_notes(workload, Phase::kDecode, sum);
    return sum;
  }
  std::vector<SystemPreset> presets() const override { return {preset_}; }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = {
        fmt::format("{:.0f} % of the weights in SLC cells, {:.2f} bits a cell on average",
                    100 * options_.slc_frac, rram_.effective_cell_bits()),
        "a module in use counts with its full power, so models far smaller than a module pay for "
        "arrays they do not fill; transfers cost time but no known energy",
        "area is that of whole chips"};
    if (options_.slc_slices > 0) {
      notes.push_back(fmt::format("the {} most significant slices of every weight are in SLC cells",
                                  options_.slc_slices));
    }
    if (options_.cell_copies > 1) {
      notes.push_back(fmt::format("the encoding takes {} times the cells of two's complement",
                                  options_.cell_copies));
    }
    if (options_.num_gpus > 1) {
      notes.emplace_back(
          "num_gpus is the number of GPUs of other systems; here num_chips says how many chips "
          "there are");
    }
    for (const auto& [what, bytes] : {std::pair{"keys and values", options_.kv_bytes},
                                      std::pair{"states", options_.state_bytes}}) {
      if (!bytes) continue;
      notes.push_back(fmt::format(
          "{} take {} B an element, as asked for, and as many passes of the digital modules, which "
          "multiply bytes",
          what, *bytes));
    }
    return notes;
  }

 private:
  static void add_notes(const Workload& workload, Phase phase, PhaseCost& cost) {
    if (factored_size(workload.operators(phase)).num_factored > 0) {
      cost.notes.emplace_back(
          "a factored layer is two products in sequence: twice the analog cycles of a dense one "
          "whose arrays all work at once");
    }
    const auto has_format = [](const Operator& op) { return !op.weight_format.empty(); };
    if (std::any_of(workload.operators(phase).begin(), workload.operators(phase).end(),
                    has_format)) {
      cost.notes.emplace_back(
          "weight formats of the workload are not followed: arrays hold int8, and weight_bytes "
          "count that");
    }
  }

  SystemPreset preset_;
  SystemOptions options_;
  RramModel rram_;
};

}  // namespace

PhaseCost System::price_steps(const Workload& workload, std::int64_t first,
                              std::int64_t last) const {
  return sum_of_steps(first, last, [&](std::int64_t context) {
    return price(reshape_workload(workload, workload.batch, context), Phase::kDecode);
  });
}

GenerationCost price_generation(const System& system, const Workload& workload,
                                std::int64_t output_tokens) {
  if (output_tokens < 1 || output_tokens > kMaxOutputTokens) {
    throw ConfigError(
        fmt::format("output_tokens: must be in [1, {}]; got {}", kMaxOutputTokens, output_tokens));
  }
  if (workload.prefill.empty() || workload.decode.empty()) {
    throw ConfigError(
        fmt::format("output_tokens: workload '{}' needs both phases; export it with phase both",
                    workload.model));
  }
  GenerationCost cost;
  cost.total = system.price(workload, Phase::kPrefill);
  cost.total.pipeline_period_ns.reset();
  cost.first_token_ns = cost.total.latency_ns;
  if (output_tokens == 1) return cost;
  const std::int64_t last = workload.context + output_tokens - 1;
  const PhaseCost steps = system.price_steps(workload, workload.context + 1, last);
  cost.later_tokens_ns = steps.latency_ns;
  cost.last_token_ns = system.price_steps(workload, last, last).latency_ns;
  cost.total.latency_ns += steps.latency_ns;
  cost.total.time_ns.add(steps.time_ns);
  cost.total.energy_pj.add(steps.energy_pj);
  cost.total.weight_bytes += steps.weight_bytes;
  cost.total.memory_bytes = std::max(cost.total.memory_bytes, steps.memory_bytes);
  if (steps.num_chips > cost.total.num_chips) {
    cost.total.num_chips = steps.num_chips;
    cost.total.area_mm2 = steps.area_mm2;
  }
  for (const std::string& note : steps.notes) {
    auto& notes = cost.total.notes;
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  }
  return cost;
}

std::unique_ptr<System> make_system(const std::vector<SystemPreset>& presets,
                                    const SystemOptions& options) {
  const SystemPreset& preset = presets.front();
  switch (preset.kind) {
    case SystemKind::kGpu:
      return make_gpu_system(preset, options);
    case SystemKind::kHbmPim:
      return make_hbm_pim_system(preset, presets.at(1), options);
    case SystemKind::kRram:
      return std::make_unique<RramSystem>(preset, options);
    case SystemKind::kCpu:
      return make_cpu_system(preset);
    case SystemKind::kMemory:
    case SystemKind::kPimUnit:
    case SystemKind::kLink:
      throw ConfigError(fmt::format("system: '{}' is a part of machines (kind {}); there are {}",
                                    preset.name, system_kind_name(preset.kind),
                                    fmt::join(system_names(), ", ")));
  }
  throw std::logic_error("make_system: unknown kind");
}

std::unique_ptr<System> make_system(const std::string& name, const SystemOptions& options) {
  std::vector<SystemPreset> presets = {load_preset(name)};
  if (presets.front().kind == SystemKind::kHbmPim) {
    const std::string gpu = presets.front().gpu;
    presets.push_back(load_preset(gpu));
  }
  return make_system(presets, options);
}

FactoredSize factored_size(const std::vector<Operator>& operators) {
  FactoredSize size;
  for (std::size_t i = 0; i < operators.size(); ++i) {
    const Operator& op = operators[i];
    if (op.kind != OperatorKind::kLinear) continue;
    const bool is_factored = !op.factored_as.empty();
    if (!is_factored || op.stage == 0) ++size.num_linears;
    if (!is_factored || op.stage == 1 || i + 1 == operators.size()) continue;
    const Operator& second = operators[i + 1];
    const auto in = static_cast<double>(op.in_features());
    const auto out = static_cast<double>(second.out_features());
    ++size.num_factored;
    size.factored_weights += in * static_cast<double>(op.n) + static_cast<double>(second.k) * out;
    size.dense_weights += in * out;
  }
  return size;
}

std::int64_t num_macs(const std::vector<Operator>& operators) {
  std::int64_t macs = 0;
  for (const Operator& op : operators) macs += op.macs();
  return macs;
}

}  // namespace lowbank::pim
