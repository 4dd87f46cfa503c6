#include "pim/experiment.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/suggest.h"
#include "pim/reference_models.h"
#include "pim/workload.h"

namespace lowbank::pim {
namespace {

struct SystemEntry {
  const char* name;
  const char* unit;  // "" = no processing in memory
  std::int64_t state_bytes;
};

constexpr SystemEntry kExperimentSystems[] = {{"GPU", "", 2},
                                              {"GPU+Q", "", 1},
                                              {"GPU+PIM", "unit-hbm-pim", 2},
                                              {"Pimba", "unit-pimba", 1},
                                              {"Pipelined", "unit-pipelined", 2},
                                              {"Time-multiplexed", "unit-time-multiplexed", 2}};

constexpr std::pair<const char*, const char*> kGpus[] = {
    {"A100", "a100"}, {"H100", "h100"}, {"B200", "b200"}};

[[noreturn]] void refuse_name(const std::string& what, const std::string& name,
                              const std::vector<std::string>& names) {
  throw ConfigError(fmt::format("{}: unknown {} '{}'{}; there are {}", what, what, name,
                                did_you_mean(name, names), fmt::join(names, ", ")));
}

const SystemEntry& system_entry(const std::string& name) {
  for (const auto& entry : kExperimentSystems) {
    if (name == entry.name) return entry;
  }
  refuse_name("system", name, reference_system_names());
}

std::string preset_suffix(const std::string& gpu) {
  for (const auto& [name, suffix] : kGpus) {
    if (gpu == name) return suffix;
  }
  refuse_name("gpu", gpu, reference_gpu_names());
}

void check(const Experiment& e) {
  const auto expect = [](const char* key, std::int64_t value, std::int64_t least,
                         std::int64_t most) {
    if (value >= least && value <= most) return;
    throw ConfigError(fmt::format("{}: must be in [{}, {}]; got {}", key, least, most, value));
  };
  expect("batch_size", e.batch_size, 1, kMaxDimension);
  expect("num_gpus", e.num_gpus, 1, kMaxDimension);
  expect("input_tokens", e.input_tokens, 1, kMaxDimension);
  expect("output_tokens", e.output_tokens, 2, kMaxOutputTokens);
}

std::int64_t times_batch(std::int64_t heads, std::int64_t batch) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(heads, batch, &product) || product > kMaxDimension) {
    throw ConfigError(
        fmt::format("batch_size: {} sequences of {} heads are beyond 2^40", batch, heads));
  }
  return product;
}

}  // namespace

double ExperimentCost::time_s() const {
  double sum = 0;
  for (const auto& [name, part] : parts) sum += part.time_s;
  return sum;
}

double ExperimentCost::energy_pj() const {
  double sum = 0;
  for (const auto& [name, part] : parts) sum += part.memory_pj + part.compute_pj;
  return sum;
}

std::vector<std::string> reference_system_names() {
  std::vector<std::string> names;
  for (const auto& entry : kExperimentSystems) names.emplace_back(entry.name);
  return names;
}

std::vector<std::string> reference_gpu_names() {
  std::vector<std::string> names;
  for (const auto& [name, suffix] : kGpus) names.emplace_back(name);
  return names;
}

std::string reference_unit_name(const std::string& system) { return system_entry(system).unit; }

ExperimentSystem::ExperimentSystem(const std::string& system, const std::string& gpu,
                                   const Corrections& corrections)
    : corrections_(corrections),
      gpu_(load_preset("gpu-" + preset_suffix(gpu)), corrections),
      state_bytes_(system_entry(system).state_bytes) {
  const std::string unit = system_entry(system).unit;
  if (unit.empty()) return;
  const std::string suffix = preset_suffix(gpu);
  pim_ = std::make_unique<HbmPimModel>(
      combine_hbm_pim(system, load_preset("gpu-" + suffix), load_preset("memory-" + suffix),
                      load_preset(unit)),
      corrections);
}

// Sums of one experiment, of one GPU.
struct ExperimentSystem::Pricing {
  const ExperimentSystem& system;
  const Experiment& experiment;
  std::map<std::string, ExperimentCost::Part> parts = {};

  std::int64_t num_steps() const { return experiment.output_tokens - 1; }

  void add(const char* category, const GpuCost& cost, double times) {
    ExperimentCost::Part& part = parts[category];
    part.time_s += cost.latency_ns * 1e-9 * times;
    part.memory_pj += cost.dram_pj * times;
    part.compute_pj += (cost.on_chip_pj() + cost.link_pj) * times;
  }
  void add(const char* category, const OperatorCost& cost, double times) {
    ExperimentCost::Part& part = parts[category];
    const double transfer_pj = cost.energy_pj.part("pim_transfer");
    part.time_s += cost.latency_ns * 1e-9 * times;
    part.memory_pj += transfer_pj * times;
    part.compute_pj += (cost.energy_pj.total() - transfer_pj) * times;
  }

  void add_state_update(const TokenOperator& op, double times) {
    const std::int64_t count = times_batch(op.heads, experiment.batch_size);
    if (system.pim_) {
      add(op.category,
          system.pim_->cost({.kind = PimKind::kStateUpdate,
                             .num_op = count,
                             .head_dim = op.head_dim,
                             .state_dim = op.state_dim}),
          times);
      return;
    }
    const std::int64_t bytes = system.state_bytes_;
    if (system.corrections_.fused_kernels) {
      add(op.category, system.gpu_.state_update(op.head_dim, op.state_dim, count, bytes), times);
      return;
    }
    add(op.category,
        system.gpu_.batched(
            {.m = op.head_dim, .n = op.state_dim, .k = 1, .count = count, .element_bytes = bytes}),
        times);
    add(op.category,
        system.gpu_.batched(
            {.m = 1, .n = op.state_dim, .k = op.head_dim, .count = count, .element_bytes = bytes}),
        times);
  }

  // Of all steps.
  void add_attention(const TokenOperator& op, double times) {
    const std::int64_t count = times_batch(op.heads, experiment.batch_size);
    const std::int64_t last = experiment.input_tokens + num_steps();
    for (std::int64_t context = experiment.input_tokens + 1; context <= last; ++context) {
      stop_if_interrupted();
      if (!system.pim_ && system.corrections_.fused_kernels) {
        const auto heads = static_cast<double>(count);
        add(op.category,
            system.gpu_.attention({.query_heads = heads,
                                   .kv_heads = heads,
                                   .head_dim = static_cast<double>(op.head_dim),
                                   .cached = static_cast<double>(context - 1),
                                   .kv_bytes = static_cast<double>(system.state_bytes_)},
                                  /*is_decode=*/true),
            times);
        continue;
      }
      add("others", system.gpu_.elementwise(OperatorKind::kSoftmax, 1, context, count), times);
      if (system.pim_) continue;
      add(op.category,
          system.gpu_.batched({.m = 1,
                               .n = context,
                               .k = op.head_dim,
                               .count = count,
                               .element_bytes = system.state_bytes_}),
          times);
      add(op.category,
          system.gpu_.batched({.m = 1,
                               .n = op.head_dim,
                               .k = context,
                               .count = count,
                               .element_bytes = system.state_bytes_}),
          times);
    }
    if (!system.pim_) return;
    for (const PimKind kind : {PimKind::kScore, PimKind::kAttend}) {
      add_attention_in_memory(op, {.kind = kind, .num_op = count, .head_dim = op.head_dim}, times);
    }
  }

  void add_attention_in_memory(const TokenOperator& op, PimCall call, double times) {
    const auto cost_at = [&](std::int64_t context) {
      call.state_dim = context;
      return system.pim_->cost(call);
    };
    const std::int64_t first = experiment.input_tokens + 1;
    const auto steps = static_cast<double>(num_steps());
    if (system.corrections_.every_context) {
      // All lengths that fill the same column chunks take the same time.
      const std::int64_t chunk = system.pim_->chunk_columns();
      const std::int64_t last = experiment.input_tokens + num_steps();
      for (std::int64_t context = first; context <= last;) {
        const std::int64_t chunk_end = std::min((context - 1) / chunk * chunk + chunk, last);
        add(op.category, cost_at(chunk_end), times * static_cast<double>(chunk_end - context + 1));
        context = chunk_end + 1;
      }
      return;
    }
    // The reference draws a line from the first length to that after the last one.
    const double far_weight = (steps - 1) / 2;
    add(op.category, cost_at(first), times * (steps - far_weight));
    add(op.category, cost_at(experiment.input_tokens + experiment.output_tokens),
        times * far_weight);
  }

  void add_operator(const TokenOperator& op, std::int64_t num_decoders) {
    const auto decoders = static_cast<double>(num_decoders);
    const double times = decoders * static_cast<double>(num_steps());
    const std::int64_t batch = experiment.batch_size;
    switch (op.kind) {
      case TokenOperatorKind::kLinear:
        add(op.category, system.gpu_.linear(batch, op.n, op.k, 1), times);
        return;
      case TokenOperatorKind::kNorm:
        add(op.category, system.gpu_.elementwise(OperatorKind::kNorm, batch, op.n, 1), times);
        return;
      case TokenOperatorKind::kActivation:
        add(op.category, system.gpu_.elementwise(OperatorKind::kActivation, batch, op.n, 1), times);
        return;
      case TokenOperatorKind::kAllReduce: {
        const double bytes = static_cast<double>(batch) * static_cast<double>(op.n) * 2;
        add(op.category, system.gpu_.all_reduce(bytes, experiment.num_gpus), times);
        return;
      }
      case TokenOperatorKind::kStateUpdate:
        add_state_update(op, times);
        return;
      case TokenOperatorKind::kAttention:
        add_attention(op, decoders);
        return;
    }
  }
};

ExperimentCost ExperimentSystem::price(const Experiment& experiment) const {
  check(experiment);
  Pricing pricing{.system = *this, .experiment = experiment};
  for (const TokenDecoder& decoder : reference_model(experiment.model, experiment.num_gpus)) {
    for (const TokenOperator& op : decoder.operators) pricing.add_operator(op, decoder.count);
  }
  for (auto& [name, part] : pricing.parts) {
    part.memory_pj *= static_cast<double>(experiment.num_gpus);
    part.compute_pj *= static_cast<double>(experiment.num_gpus);
  }
  return {.parts = std::move(pricing.parts)};
}

}  // namespace lowbank::pim
