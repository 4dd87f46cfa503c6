#include "pim/estimator.h"

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
  if (op.kind == OperatorKind::kLinear) return gpu.linear(op.m, op.n, op.k, op.count);
  if (is_attention_product(op)) {
    return gpu.batched(
        {.m = op.m, .n = op.n, .k = op.k, .count = op.count, .element_bytes = gpu.element_bytes()});
  }
  return gpu.elementwise(op.kind, op.m, op.n, op.count);
}

// Operators that run one after another, each on the GPU or in its memory.
class GpuSystem : public System {
 public:
  GpuSystem(SystemPreset preset, EstimateMode mode)
      : preset_(std::move(preset)), mode_(mode), gpu_(preset_, mode) {}

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
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = {
        "energy is dynamic only: a GPU's idle and static power is not in it"};
    notes.push_back(mode_ == EstimateMode::kReference
                        ? "GPU times by the reference's roofline, which leaves out launch times: "
                          "small operators come out far too fast"
                        : "GPU times by the reference's roofline and one launch time per matrix "
                          "product; its error on measured products stands with gemm_launch_us");
    return notes;
  }

 protected:
  virtual OperatorCost operator_cost(const Operator& op, Phase) const { return gpu_cost(gpu_, op); }
  EstimateMode mode() const { return mode_; }

 private:
  SystemPreset preset_;
  EstimateMode mode_;
  GpuModel gpu_;
};

class HbmPimSystem : public GpuSystem {
 public:
  HbmPimSystem(SystemPreset preset, SystemPreset gpu, EstimateMode mode)
      : GpuSystem(std::move(gpu), mode), preset_(std::move(preset)), pim_(preset_, mode) {}

  std::vector<SystemPreset> presets() const override {
    std::vector<SystemPreset> all = GpuSystem::presets();
    all.insert(all.begin(), preset_);
    return all;
  }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = GpuSystem::notes();
    notes.push_back(fmt::format("attention of decode runs in memory: X",
                                mode() == EstimateMode::kReference
                                    ? "refresh costs only the wait for it, as in the reference"
                                    : "refresh included, timings kept in ns at the actual clock"));
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
    return pim_.cost({.kind = op.kind,
                      .num_op = num_op,
                      .head_dim = is_score ? op.k : op.n,
                      .context = is_score ? op.n : op.k});
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

std::unique_ptr<System> make_system(const SystemPreset& preset, EstimateMode mode,
                                    double slc_frac) {
  switch (preset.kind) {
    case SystemKind::kGpu:
      return std::make_unique<GpuSystem>(preset, mode);
    case SystemKind::kHbmPim: {
      SystemPreset gpu = load_preset(preset.gpu);
      if (gpu.kind != SystemKind::kGpu) {
        throw ConfigError(fmt::format("{}: gpu: '{}' is of kind {}, not gpu", preset.file,
                                      preset.gpu, system_kind_name(gpu.kind)));
      }
      return std::make_unique<HbmPimSystem>(preset, std::move(gpu), mode);
    }
    case SystemKind::kRram:
      return std::make_unique<RramSystem>(preset, mode, slc_frac);
  }
  throw std::logic_error("make_system: unknown kind");
}

std::unique_ptr<System> make_system(const std::string& name, EstimateMode mode, double slc_frac) {
  return make_system(load_preset(name), mode, slc_frac);
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
