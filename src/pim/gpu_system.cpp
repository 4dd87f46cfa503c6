#include "pim/gpu_system.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "pim/gpu.h"
#include "pim/hbm_pim.h"
#include "pim/reshape.h"

namespace lowbank::pim {
namespace {

// Above this part of the dense weights a GPU gains nothing worth the second kernel.
constexpr double kNearBreakEven = 0.95;
constexpr std::int64_t kScanStateBytes = 4;  // float32

bool is_attention_product(const Operator& op) {
  return op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
}

double real(std::int64_t value) { return static_cast<double>(value); }

// What an operator belongs to.
struct RunInfo {
  Phase phase = Phase::kDecode;
  std::int64_t batch = 1;
  double stored_bytes = 0;  // of a value, where a workload tells bytes
  bool is_causal = true;
};

RunInfo run_of(const Workload& workload, Phase phase) {
  return {.phase = phase,
          .batch = workload.batch,
          .stored_bytes = workload.weight_bits / 8,
          .is_causal = workload.is_causal()};
}

// Of all that decides what an operator costs.
bool same_work(const Operator& a, const Operator& b) {
  return a.kind == b.kind && a.m == b.m && a.n == b.n && a.k == b.k && a.count == b.count &&
         a.tile == b.tile && a.weight_format == b.weight_format &&
         a.queries_per_cache == b.queries_per_cache && a.weight_bytes == b.weight_bytes &&
         a.activation_bytes == b.activation_bytes;
}

// Operators that run one after another, each on the GPU or in its memory.
class GpuSystem : public System {
 public:
  GpuSystem(SystemPreset preset, const SystemOptions& options)
      : preset_(std::move(preset)),
        is_physical_(options.mode == EstimateMode::kPhysical),
        corrections_(options.corrections),
        num_gpus_(options.num_gpus),
        kv_bytes_(options.kv_bytes),
        state_bytes_(options.state_bytes),
        fuses_attention_(options.fuses_attention && corrections_.fused_kernels),
        links_(read_links(options)),
        gpu_(preset_, corrections_, links_ ? &*links_ : nullptr) {}

  PhaseCost price(const Workload& workload, Phase phase) const override {
    const RunInfo run = run_of(workload, phase);
    const auto cost_of = [&](const Operator& op) { return operator_cost(op, run); };
    return summed(workload, phase, 1, workload.context, cost_of);
  }
  PhaseCost price_steps(const Workload& workload, std::int64_t first,
                        std::int64_t last) const override {
    const double num_steps = real(last - first + 1);
    const RunInfo run = run_of(workload, Phase::kDecode);
    const auto cost_of = [&](const Operator& op) {
      if (!reads_context(op, workload.context)) {
        OperatorCost cost = operator_cost(op, run);
        cost.latency_ns *= num_steps;
        cost.energy_pj.scale(num_steps);
        return cost;
      }
      return operator_steps_cost(op, run, first, last);
    };
    return summed(workload, Phase::kDecode, num_steps, last, cost_of);
  }
  std::vector<SystemPreset> presets() const override {
    std::vector<SystemPreset> all = {preset_};
    if (links_) all.push_back(*links_);
    return all;
  }
  std::optional<GpuTimeError> gpu_time_error() const override { return gpu_.time_error(); }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = {
        accounting() == EnergyAccounting::kTotal
            ? fmt::format("energy is {}: it contains what a GPU draws idle and awake, beside the "
                          "operators' own",
                          accounting_name(accounting()))
            : std::string("energy is dynamic only: a GPU's idle and static power is not in it")};
    const GpuTimeError error = gpu_.time_error();
    notes.push_back(fmt::format(
        "GPU times by {}: on measured matrix products {} median error {:.0f} %, 90th percentile "
        "{:.0f} %",
        corrections_.fitted_gpu ? "a rule fitted to measurement" : "the reference's roofline",
        corrections_.fitted_gpu ? "not fitted to," : "its", 100 * error.median_frac,
        100 * error.p90_frac));
    add_kind_errors(notes);
    if (num_gpus_ > 1) {
      notes.push_back(fmt::format(
          "{} GPUs share each layer (linears split by output, then by input, with an all-reduce); "
          "all-reduce times are {}",
          num_gpus_,
          corrections_.fitted_links ? "by a rule fitted to measurement"
                                    : "the reference's rule, not measured"));
    }
    for (const auto& [what, bytes] :
         {std::pair{"keys and values", kv_bytes_}, std::pair{"states", state_bytes_}}) {
      if (!bytes) continue;
      notes.push_back(
          fmt::format("{} take {} B an element, as asked for; converting them takes no time here",
                      what, *bytes));
    }
    return notes;
  }

 protected:
  // Of an element of the cache or state that an operator keeps.
  virtual std::int64_t kept_bytes(const Operator& op) const {
    if (is_attention_product(op)) return kv_bytes_.value_or(gpu_.element_bytes());
    return state_bytes_.value_or(op.kind == OperatorKind::kScan ? kScanStateBytes
                                                                : gpu_.element_bytes());
  }
  virtual bool runs_in_memory(const Operator&, Phase) const { return false; }
  virtual OperatorCost operator_cost(const Operator& op, const RunInfo& run) const {
    switch (op.kind) {
      case OperatorKind::kLinear:
        return linear_cost(op).named();
      case OperatorKind::kScore:
      case OperatorKind::kAttend:
        return attention_cost(op, run).named();
      case OperatorKind::kAttention:
        return fused_attention_cost(op, run).named();
      case OperatorKind::kConv:
      case OperatorKind::kScan:
        return streamed_cost(op, run).named();
      case OperatorKind::kStateUpdate:
        return state_update_cost(op, run).named();
      case OperatorKind::kAllReduce:
        return gpu_.all_reduce(real(op.m) * real(op.n) * real(gpu_.element_bytes()), num_gpus_)
            .named();
      case OperatorKind::kSoftmax:
      case OperatorKind::kNorm:
      case OperatorKind::kActivation:
      case OperatorKind::kEmbedding:
        break;
    }
    return gpu_.elementwise(op.kind, op.m, op.n, op.count, true_bytes(op, run)).named();
  }
  virtual std::optional<double> area_mm2() const { return std::nullopt; }
  // An operator that reads `first`, `first` + 1, ... `last` keys.
  virtual OperatorCost operator_steps_cost(const Operator& op, const RunInfo& run,
                                           std::int64_t first, std::int64_t last) const {
    OperatorCost sum;
    Operator step = op;
    for (std::int64_t context = first; context <= last; ++context) {
      num_keys(step) = context;
      const OperatorCost cost = operator_cost(step, run);
      sum.latency_ns += cost.latency_ns;
      sum.energy_pj.add(cost.energy_pj);
    }
    return sum;
  }
  const Corrections& corrections() const { return corrections_; }
  bool is_physical() const { return is_physical_; }

 private:
  // What the constants of the other kinds of kernel are known to be off, on shapes of usual size
  // that they were not fitted to.
  void add_kind_errors(std::vector<std::string>& notes) const {
    std::vector<std::string> errors;
    const auto add = [&](bool is_used, const SystemPreset& preset, const char* what,
                         const std::string& key) {
      const auto median = preset.find(key + "_error_median_frac");
      const auto p90 = preset.find(key + "_error_p90_frac");
      if (!is_used || !median || !p90) return;
      errors.push_back(fmt::format("{} {:.0f} and {:.0f} %", what, 100 * *median, 100 * *p90));
    };
    const bool is_fused = corrections_.fused_kernels;
    add(fuses_attention_, preset_, "attention of a prompt", "prompt_attention");
    add(fuses_attention_, preset_, "attention of a step", "decode_attention");
    add(is_fused, preset_, "state updates", "state_update");
    add(corrections_.fitted_links && num_gpus_ > 1, links_ ? *links_ : preset_, "all-reduces",
        "all_reduce");
    if (errors.empty()) return;
    notes.push_back(fmt::format(
        "median error and 90th percentile of other kernels, on measured ones not fitted to: {}",
        fmt::join(errors, "; ")));
  }
  static std::optional<SystemPreset> read_links(const SystemOptions& options) {
    if (options.interconnect.empty()) return std::nullopt;
    SystemPreset links = load_preset(options.interconnect);
    if (links.kind != SystemKind::kLink) {
      throw ConfigError(fmt::format("interconnect: '{}' is of kind {}, not link", links.name,
                                    system_kind_name(links.kind)));
    }
    return links;
  }
  EnergyAccounting accounting() const {
    return corrections_.static_power && preset_.find("idle_power_w") ? EnergyAccounting::kTotal
                                                                     : EnergyAccounting::kDynamic;
  }
  // What an elementwise operator moves in the GPU's format, where the workload tells it.
  double true_bytes(const Operator& op, const RunInfo& run) const {
    if (op.kind == OperatorKind::kSoftmax) return 0;
    return (op.activation_bytes + op.weight_bytes) / run.stored_bytes * real(gpu_.element_bytes());
  }
  // A decode step reads n keys, the last of them its own; a prompt's window is told by fewer keys
  // than queries.
  GpuCost fused_attention_cost(const Operator& op, const RunInfo& run) const {
    const bool is_decode = run.phase == Phase::kDecode;
    const AttentionShape shape = {.query_heads = real(op.count),
                                  .kv_heads = real(op.count / op.queries_per_cache),
                                  .head_dim = real(op.k),
                                  .queries = real(op.m),
                                  .cached = std::max(real(op.n - op.m), 0.0),
                                  .window = !is_decode && op.n < op.m ? real(op.n) : 0.0,
                                  .is_causal = run.is_causal,
                                  .element_bytes = real(gpu_.element_bytes()),
                                  .kv_bytes = real(kv_bytes_.value_or(gpu_.element_bytes())),
                                  .writes_cache = run.is_causal};
    return gpu_.attention(shape, is_decode);
  }
  // The tiles of a layer run side by side in one kernel.
  GpuCost linear_cost(const Operator& op) const {
    // Weights of a format of their own are read as they are, and multiplied at the GPU's width.
    const double bytes_per_weight =
        op.weight_format.empty() ? 0.0 : op.weight_bytes / (real(op.n) * real(op.k));
    if (op.tile == 0) return gpu_.linear(op.m, op.n, op.k, op.count, bytes_per_weight);
    return gpu_.linears({.m = op.m,
                         .n = op.n,
                         .k = op.k,
                         .count = op.count,
                         .element_bytes = gpu_.element_bytes(),
                         .matrix_bytes = bytes_per_weight});
  }
  // Of a decode step, the query heads that read the same cache are the rows of one product.
  GpuCost attention_cost(const Operator& op, const RunInfo& run) const {
    const bool are_rows = is_physical_ && run.phase == Phase::kDecode;
    const std::int64_t heads = are_rows ? op.queries_per_cache : 1;
    return gpu_.batched({.m = op.m * heads,
                         .n = op.n,
                         .k = op.k,
                         .count = op.count / heads,
                         .element_bytes = gpu_.element_bytes(),
                         .matrix_bytes = real(kv_bytes_.value_or(0))});
  }
  // In decode the update of the states and their reading, as the reference has them. A prompt goes
  // in chunks: products over all its tokens; those within a chunk are left out.
  GpuCost state_update_cost(const Operator& op, const RunInfo& run) const {
    MatrixShape product = {.m = op.m,
                           .n = op.n,
                           .k = op.k,
                           .count = op.count,
                           .element_bytes = gpu_.element_bytes(),
                           .matrix_bytes = real(state_bytes_.value_or(0))};
    if (run.phase == Phase::kPrefill) return gpu_.batched(product).times(2);
    if (corrections_.fused_kernels) {
      return gpu_.state_update(op.k, op.n, op.count, state_bytes_.value_or(gpu_.element_bytes()))
          .times(real(op.m));
    }
    product.m = 1;
    MatrixShape update = product;
    update.m = op.k;
    update.k = 1;
    update.matrix_bytes = 0;
    update.result_bytes = product.matrix_bytes;
    return gpu_.batched(update).plus(gpu_.batched(product)).times(real(op.m));
  }
  // Fused kernels that stream their rows, as an activation does.
  GpuCost streamed_cost(const Operator& op, const RunInfo& run) const {
    const bool is_scan = op.kind == OperatorKind::kScan;
    if (!is_physical_) {
      // A convolution as the reference has it; of a scan, which it has not: the sequence, its steps
      // and its gate.
      return gpu_.elementwise(OperatorKind::kActivation, op.m, (is_scan ? 2 : 1) * op.n, op.count);
    }
    const double states = is_scan ? 2 * real(op.n) * real(op.k) * real(run.batch) : 0.0;
    const double told_bytes = op.activation_bytes + op.weight_bytes;
    double values = (told_bytes - states * real(kScanStateBytes)) / run.stored_bytes;
    if (told_bytes == 0 && is_scan) {
      // Inputs, steps and outputs a channel, B and C a token; the decays and the skip.
      values = real(op.m) * (3 * real(op.n) + 2 * real(op.k)) + real(op.n) * (real(op.k) + 1);
    } else if (told_bytes == 0) {
      // Inputs, outputs, the last k - 1 of each sequence; the taps.
      values = real(op.n) * (2 * (real(op.m) + real(run.batch) * real(op.k - 1)) + real(op.k));
    }
    const double bytes = std::max(values, 0.0) * real(gpu_.element_bytes()) +
                         states * real(state_bytes_.value_or(kScanStateBytes));
    return gpu_.streamed(bytes, op.n, op.macs() / op.count).times(real(op.count));
  }
  // Equal operators (of equal blocks) are priced once. `last_context`: the longest cache.
  template <class CostOf>
  PhaseCost summed(const Workload& workload, Phase phase, double num_steps,
                   std::int64_t last_context, const CostOf& cost_of) const {
    const std::vector<Operator>& operators = workload.operators(phase);
    std::vector<Operator> mine = split_over_gpus(operators, workload.batch, num_gpus_);
    if (fuses_attention_) mine = fuse_on_gpu(std::move(mine), run_of(workload, phase));
    std::vector<std::pair<const Operator*, OperatorCost>> known;
    PhaseCost cost;
    const double gpus = real(num_gpus_);
    for (const Operator& op : mine) {
      auto entry = std::find_if(known.begin(), known.end(),
                                [&](const auto& each) { return same_work(*each.first, op); });
      if (entry == known.end()) entry = known.insert(known.end(), {&op, cost_of(op)});
      cost.time_ns.add(time_category(op.kind), entry->second.latency_ns);
      cost.energy_pj.add(entry->second.energy_pj);
      cost.weight_bytes += op.weight_format.empty()
                               ? op.weight_bytes * real(op.count) * 8 * real(gpu_.element_bytes()) /
                                     workload.weight_bits
                               : op.weight_bytes * real(op.count);
    }
    cost.energy_pj.scale(gpus);
    cost.weight_bytes *= gpus * num_steps;
    cost.latency_ns = cost.time_ns.total();
    cost.accounting = accounting();
    if (cost.accounting == EnergyAccounting::kTotal) {
      const double pj_per_watt = cost.latency_ns * 1e3 * gpus;
      cost.energy_pj.add("idle", preset_.value("idle_power_w") * pj_per_watt);
      cost.energy_pj.add("active", preset_.find("active_power_w").value_or(0) * pj_per_watt);
    }
    if (const auto area = area_mm2()) cost.area_mm2 = *area * gpus;
    cost.num_chips = num_gpus_;
    cost.memory_bytes = parameter_bytes(workload, phase) +
                        state_bytes(workload, phase, last_context) +
                        (phase == Phase::kPrefill ? score_bytes(mine) * gpus : 0.0);
    if (const auto capacity = preset_.find("memory_capacity_bytes")) {
      cost.memory_capacity_bytes = *capacity * gpus;
    }
    add_notes(operators, phase, cost);
    return cost;
  }
  // What computes in memory is not fused. An activation of one input is the end of the product
  // before it.
  std::vector<Operator> fuse_on_gpu(std::vector<Operator> operators, const RunInfo& run) const {
    const bool is_in_memory =
        std::any_of(operators.begin(), operators.end(), [&](const Operator& op) {
          return is_attention_product(op) && runs_in_memory(op, run.phase);
        });
    if (!is_in_memory) operators = fuse_attention(operators);
    std::vector<Operator> fused;
    fused.reserve(operators.size());
    for (Operator& op : operators) {
      const bool ends_product =
          op.kind == OperatorKind::kActivation && !fused.empty() &&
          fused.back().kind == OperatorKind::kLinear && fused.back().n == op.n &&
          fused.back().m == op.m && op.activation_bytes > 0 &&
          op.activation_bytes < 2.5 * real(op.m) * real(op.n) * run.stored_bytes;
      if (!ends_product) fused.push_back(std::move(op));
    }
    return fused;
  }
  // The scores of a layer's prompt, where attention is no single kernel.
  double score_bytes(const std::vector<Operator>& operators) const {
    double most = 0;
    for (const Operator& op : operators) {
      if (op.kind != OperatorKind::kScore) continue;
      most = std::max(most, real(op.m) * real(op.n) * real(op.count) * real(gpu_.element_bytes()));
    }
    return most;
  }
  double parameter_bytes(const Workload& workload, Phase phase) const {
    double own_params = real(workload.num_params);
    double formatted_bytes = 0;
    for (const Operator& op : workload.operators(phase)) {
      if (op.weight_format.empty()) continue;
      own_params -= real(op.n) * real(op.k) * real(op.count);
      formatted_bytes += op.weight_bytes * real(op.count);
    }
    return std::max(own_params, 0.0) * real(gpu_.element_bytes()) + formatted_bytes;
  }
  // Of caches and states, of all GPUs.
  double state_bytes(const Workload& workload, Phase phase, std::int64_t last_context) const {
    double bytes = 0;
    for (Operator op : workload.operators(phase)) {
      const bool is_scan = op.kind == OperatorKind::kScan;
      if (!keeps_state(op.kind) && !is_attention_product(op)) continue;
      if (reads_context(op, workload.context)) num_keys(op) = last_context;
      bytes += real(op.n) * real(op.k) *
               real(is_scan ? workload.batch : op.count / op.queries_per_cache) *
               real(kept_bytes(op));
    }
    return bytes;
  }
  void add_notes(const std::vector<Operator>& operators, Phase phase, PhaseCost& cost) const {
    const auto runs_on_gpu = [&](OperatorKind kind) {
      return std::any_of(operators.begin(), operators.end(), [&](const Operator& op) {
        return op.kind == kind && !runs_in_memory(op, phase);
      });
    };
    if (runs_on_gpu(OperatorKind::kConv) || runs_on_gpu(OperatorKind::kScan)) {
      cost.notes.emplace_back(
          "convolutions and scans are priced as kernels that stream their bytes; no measurement "
          "stands behind them");
    }
    if (std::any_of(operators.begin(), operators.end(), [&](const Operator& op) {
          return op.kind == OperatorKind::kScan && runs_in_memory(op, phase);
        })) {
      cost.notes.emplace_back(
          "Mamba-1's decay differs by element, which the unit's commands do not carry: a lower "
          "bound");
    }
    const FactoredSize size = factored_size(operators);
    if (size.num_factored > 0 && size.factored_weights >= kNearBreakEven * size.dense_weights) {
      cost.notes.push_back(fmt::format(
          "the factors hold {:.1f} % of the dense weights (break-even rank): a GPU reads as many "
          "bytes as before and runs two products in place of one, so factoring saves nothing here",
          100 * size.factored_weights / size.dense_weights));
    }
  }

  SystemPreset preset_;
  bool is_physical_;  // what the reference has no rule for goes by ours
  Corrections corrections_;
  std::int64_t num_gpus_;
  std::optional<std::int64_t> kv_bytes_;
  std::optional<std::int64_t> state_bytes_;
  bool fuses_attention_;
  std::optional<SystemPreset> links_;
  GpuModel gpu_;
};

class HbmPimSystem : public GpuSystem {
 public:
  HbmPimSystem(SystemPreset preset, SystemPreset gpu, const SystemOptions& options)
      : GpuSystem(std::move(gpu), options),
        preset_(std::move(preset)),
        kv_bytes_(options.kv_bytes),
        state_bytes_(options.state_bytes),
        pim_(preset_, options.corrections) {}

  std::vector<SystemPreset> presets() const override {
    std::vector<SystemPreset> all = GpuSystem::presets();
    all.insert(all.begin(), preset_);
    return all;
  }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = GpuSystem::notes();
    notes.push_back(fmt::format("attention and state updates of decode run in memory: {}",
                                !corrections().refresh
                                    ? "refresh costs only the wait for it, as in the reference"
                                    : "refresh included"));
    const auto overhead = preset_.find("area_overhead_frac");
    if (area_mm2()) {
      notes.emplace_back("area is what the units add to the memory's dies");
    } else if (overhead) {
      notes.push_back(fmt::format(
          "the units add {:.1f} % to each memory die, whose area is not known", 100 * *overhead));
    } else {
      notes.emplace_back("the area of the units is not known");
    }
    return notes;
  }

 protected:
  std::int64_t kept_bytes(const Operator& op) const override {
    if (!is_physical() || !runs_in_memory(op, Phase::kDecode)) return GpuSystem::kept_bytes(op);
    return (is_attention_product(op) ? kv_bytes_ : state_bytes_)
        .value_or(static_cast<std::int64_t>(preset_.value("element_bytes")));
  }
  // The reference knows state updates, and none whose decay differs by element.
  bool runs_in_memory(const Operator& op, Phase phase) const override {
    return phase == Phase::kDecode &&
           (is_attention_product(op) || op.kind == OperatorKind::kStateUpdate ||
            (op.kind == OperatorKind::kScan && is_physical()));
  }
  OperatorCost operator_cost(const Operator& op, const RunInfo& run) const override {
    if (!runs_in_memory(op, run.phase)) return GpuSystem::operator_cost(op, run);
    std::int64_t num_op = 0;
    if (__builtin_mul_overflow(op.count, op.m, &num_op)) {
      throw ConfigError(fmt::format("operator '{}': m x count does not fit in 63 bits", op.name));
    }
    PimCall call = {.kind = PimKind::kStateUpdate,
                    .num_op = num_op,
                    .head_dim = op.k,
                    .state_dim = op.n,
                    .element_bytes = is_attention_product(op) ? kv_bytes_ : state_bytes_};
    if (op.kind == OperatorKind::kScore) call.kind = PimKind::kScore;
    if (op.kind == OperatorKind::kAttend) {
      call.kind = PimKind::kAttend;
      std::swap(call.head_dim, call.state_dim);
    }
    return pim_.cost(call);
  }
  // All lengths that fill the same column chunks cost the same.
  OperatorCost operator_steps_cost(const Operator& op, const RunInfo& run, std::int64_t first,
                                   std::int64_t last) const override {
    if (!is_attention_product(op)) return GpuSystem::operator_steps_cost(op, run, first, last);
    OperatorCost sum;
    Operator step = op;
    const std::int64_t chunk = pim_.chunk_columns();
    for (std::int64_t context = first; context <= last;) {
      const std::int64_t chunk_end = std::min((context - 1) / chunk * chunk + chunk, last);
      num_keys(step) = chunk_end;
      OperatorCost cost = operator_cost(step, run);
      const double times = real(chunk_end - context + 1);
      cost.energy_pj.scale(times);
      sum.latency_ns += cost.latency_ns * times;
      sum.energy_pj.add(cost.energy_pj);
      context = chunk_end + 1;
    }
    return sum;
  }
  // Added by the units to all dies of a GPU's memory; nothing where a constant is not known.
  std::optional<double> area_mm2() const override {
    double area_mm2 = 1;
    for (const char* const key :
         {"num_stacks", "dies_per_stack", "die_area_mm2", "area_overhead_frac"}) {
      const auto value = preset_.find(key);
      if (!value) return std::nullopt;
      area_mm2 *= *value;
    }
    return area_mm2;
  }

 private:
  SystemPreset preset_;
  std::optional<std::int64_t> kv_bytes_;
  std::optional<std::int64_t> state_bytes_;
  HbmPimModel pim_;
};

}  // namespace

std::unique_ptr<System> make_gpu_system(const SystemPreset& preset, const SystemOptions& options) {
  return std::make_unique<GpuSystem>(preset, options);
}

std::unique_ptr<System> make_hbm_pim_system(const SystemPreset& preset, const SystemPreset& gpu,
                                            const SystemOptions& options) {
  return std::make_unique<HbmPimSystem>(preset, gpu, options);
}

}  // namespace lowbank::pim
