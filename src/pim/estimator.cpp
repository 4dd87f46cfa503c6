#include "pim/estimator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "pim/gpu.h"
#include "pim/hbm_pim.h"
#include "pim/rram.h"

namespace lowbank {
namespace {

// Above this part of the dense weights a GPU gains nothing worth the second kernel.
constexpr double kNearBreakEven = 0.95;

const char* category_of(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kLinear:
      return "gemm";
    case OperatorKind::kScore:
    case OperatorKind::kAttend:
      return "attention";
    case OperatorKind::kConv:
      return "causal_conv1d";
    case OperatorKind::kScan:
      return "state_update";
    case OperatorKind::kSoftmax:
    case OperatorKind::kNorm:
    case OperatorKind::kActivation:
    case OperatorKind::kEmbedding:
      return "others";
  }
  return "others";
}

bool is_attention_product(const Operator& op) {
  return op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
}

OperatorCost gpu_cost(const GpuModel& gpu, const Operator& op) {
  if (op.kind == OperatorKind::kLinear) return gpu.linear(op.m, op.n, op.k, op.count).named();
  if (is_attention_product(op)) {
    return gpu
        .batched({.m = op.m,
                  .n = op.n,
                  .k = op.k,
                  .count = op.count,
                  .element_bytes = gpu.element_bytes()})
        .named();
  }
  // Fused kernels that stream their rows, as an activation does: a convolution reads and writes one
  // of n; a scan reads the sequence, its steps and its gate.
  if (op.kind == OperatorKind::kConv || op.kind == OperatorKind::kScan) {
    const std::int64_t width = op.kind == OperatorKind::kScan ? 2 * op.n : op.n;
    return gpu.elementwise(OperatorKind::kActivation, op.m, width, op.count).named();
  }
  return gpu.elementwise(op.kind, op.m, op.n, op.count).named();
}

// Operators that run one after another, each on the GPU or in its memory.
class GpuSystem : public System {
 public:
  GpuSystem(SystemPreset preset, const Corrections& corrections)
      : preset_(std::move(preset)), corrections_(corrections), gpu_(preset_, corrections) {}

  PhaseCost price(const Workload& workload, Phase phase) const override {
    PhaseCost cost;
    for (const Operator& op : workload.operators(phase)) {
      const OperatorCost one = operator_cost(op, phase);
      cost.time_ns.add(category_of(op.kind), one.latency_ns);
      cost.energy_pj.add(one.energy_pj);
      cost.weight_bytes += op.weight_bytes * static_cast<double>(op.count) * 8 *
                           static_cast<double>(gpu_.element_bytes()) / workload.weight_bits;
    }
    cost.latency_ns = cost.time_ns.total();
    const auto& operators = workload.operators(phase);
    if (std::any_of(operators.begin(), operators.end(), [](const Operator& op) {
          return op.kind == OperatorKind::kConv || op.kind == OperatorKind::kScan;
        })) {
      cost.notes.emplace_back(
          "convolutions and scans are priced as kernels that stream their rows; no measurement "
          "stands behind them");
    }
    const FactoredSize size = factored_size(workload.operators(phase));
    if (size.num_factored > 0 && size.factored_weights >= kNearBreakEven * size.dense_weights) {
      cost.notes.push_back(fmt::format(
          "the factors hold {:.1f} % of the dense weights (break-even rank): a GPU reads as many "
          "bytes as before and runs two products in place of one, so factoring saves nothing here",
          100 * size.factored_weights / size.dense_weights));
    }
    return cost;
  }
  std::vector<SystemPreset> presets() const override { return {preset_}; }
  std::optional<GpuTimeError> gpu_time_error() const override { return gpu_.time_error(); }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = {
        "energy is dynamic only: a GPU's idle and static power is not in it"};
    const GpuTimeError error = gpu_.time_error();
    notes.push_back(fmt::format(
        "GPU times by {}: on measured matrix products {} median error {:.0f} %, 90th percentile "
        "{:.0f} %",
        corrections_.fitted_gpu ? "a rule fitted to measurement" : "the reference's roofline",
        corrections_.fitted_gpu ? "not fitted to," : "its", 100 * error.median_frac,
        100 * error.p90_frac));
    return notes;
  }

 protected:
  virtual OperatorCost operator_cost(const Operator& op, Phase) const { return gpu_cost(gpu_, op); }
  const Corrections& corrections() const { return corrections_; }

 private:
  SystemPreset preset_;
  Corrections corrections_;
  GpuModel gpu_;
};

class HbmPimSystem : public GpuSystem {
 public:
  HbmPimSystem(SystemPreset preset, SystemPreset gpu, const Corrections& corrections)
      : GpuSystem(std::move(gpu), corrections),
        preset_(std::move(preset)),
        pim_(preset_, corrections) {}

  std::vector<SystemPreset> presets() const override {
    std::vector<SystemPreset> all = GpuSystem::presets();
    all.insert(all.begin(), preset_);
    return all;
  }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = GpuSystem::notes();
    notes.push_back(fmt::format("attention of decode runs in memory: {}",
                                !corrections().refresh
                                    ? "refresh costs only the wait for it, as in the reference"
                                    : "refresh included"));
    return notes;
  }

 protected:
  OperatorCost operator_cost(const Operator& op, Phase phase) const override {
    if (phase != Phase::kDecode || !is_attention_product(op)) {
      return GpuSystem::operator_cost(op, phase);
    }
    std::int64_t num_op = 0;
    if (__builtin_mul_overflow(op.count, op.m, &num_op)) {
      throw ConfigError(fmt::format("operator '{}': m x count does not fit in 63 bits", op.name));
    }
    const bool is_score = op.kind == OperatorKind::kScore;
    return pim_.cost({.kind = is_score ? PimKind::kScore : PimKind::kAttend,
                      .num_op = num_op,
                      .head_dim = is_score ? op.k : op.n,
                      .state_dim = is_score ? op.n : op.k});
  }

 private:
  SystemPreset preset_;
  HbmPimModel pim_;
};

class RramSystem : public System {
 public:
  RramSystem(SystemPreset preset, EstimateMode mode, double slc_frac)
      : preset_(std::move(preset)), slc_frac_(slc_frac), rram_(preset_, mode, slc_frac) {}

  PhaseCost price(const Workload& workload, Phase phase) const override {
    PhaseCost cost = rram_.price(workload, phase);
    if (factored_size(workload.operators(phase)).num_factored > 0) {
      cost.notes.emplace_back(
          "a factored layer is two products in sequence: twice the analog cycles of a dense one "
          "whose arrays all work at once");
    }
    return cost;
  }
  std::vector<SystemPreset> presets() const override { return {preset_}; }
  std::vector<std::string> notes() const override {
    return {
        fmt::format("{:.0f} % of the weights in SLC cells, {:.2f} bits a cell on average",
                    100 * slc_frac_, rram_.effective_cell_bits()),
        "a module in use counts with its full power, so models far smaller than a module pay for "
        "arrays they do not fill; transfers cost time but no known energy",
        "area is that of whole chips"};
  }

 private:
  SystemPreset preset_;
  double slc_frac_;
  RramModel rram_;
};

}  // namespace

std::unique_ptr<System> make_system(const std::string& name, EstimateMode mode,
                                    const Corrections& corrections, double slc_frac) {
  const SystemPreset preset = load_preset(name);
  switch (preset.kind) {
    case SystemKind::kGpu:
      return std::make_unique<GpuSystem>(preset, corrections);
    case SystemKind::kHbmPim:
      return std::make_unique<HbmPimSystem>(preset, load_preset(preset.gpu), corrections);
    case SystemKind::kRram:
      return std::make_unique<RramSystem>(preset, mode, slc_frac);
    case SystemKind::kMemory:
    case SystemKind::kPimUnit:
      throw ConfigError(fmt::format("system: '{}' is a part of machines (kind {}); there are {}",
                                    preset.name, system_kind_name(preset.kind),
                                    fmt::join(system_names(), ", ")));
  }
  throw std::logic_error("make_system: unknown kind");
}

std::unique_ptr<System> make_system(const std::string& name, EstimateMode mode, double slc_frac) {
  return make_system(name, mode, mode, slc_frac);
}

FactoredSize factored_size(const std::vector<Operator>& operators) {
  FactoredSize size;
  for (std::size_t i = 0; i < operators.size(); ++i) {
    const Operator& op = operators[i];
    if (op.kind != OperatorKind::kLinear) continue;
    const bool is_factored = !op.factored_as.empty();
    if (!is_factored || op.stage == 0) ++size.num_linears;
    if (!is_factored || op.stage == 1 || i + 1 == operators.size()) continue;
    const auto in = static_cast<double>(op.k);
    const auto out = static_cast<double>(operators[i + 1].n);
    ++size.num_factored;
    size.factored_weights += static_cast<double>(op.rank) * (in + out);
    size.dense_weights += in * out;
  }
  return size;
}

std::int64_t num_macs(const std::vector<Operator>& operators) {
  std::int64_t macs = 0;
  for (const Operator& op : operators) macs += op.macs();
  return macs;
}

}  // namespace lowbank
