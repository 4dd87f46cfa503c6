#include "pim/cpu_system.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace lowbank::pim {
namespace {

// More rows go through a blocked product (src/kernels/small_linear.cpp).
constexpr std::int64_t kFewRows = 8;

double count_of(const Operator& op) { return static_cast<double>(op.count); }
double weight_bytes(const Operator& op) { return op.weight_bytes * count_of(op); }
double activation_bytes(const Operator& op) { return op.activation_bytes * count_of(op); }
double outputs(const Operator& op) {
  return static_cast<double>(op.m) * static_cast<double>(op.n) * count_of(op);
}
double macs(const Operator& op) { return static_cast<double>(op.macs()); }

bool is_few_rows(const Operator& op) {
  return op.kind == OperatorKind::kLinear && op.m <= kFewRows;
}

// Of one query a sequence; operators of a prompt of one token are the same.
bool is_decode_attention(const Operator& op) {
  return (op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend) && op.m == 1;
}

double streamed_bytes(const Operator& op) {
  if (op.kind == OperatorKind::kLinear) return weight_bytes(op);
  return is_decode_attention(op) ? activation_bytes(op) : 0;
}

bool shares_call(const Operator* before, const Operator& op) {
  return before != nullptr && is_few_rows(*before) && is_few_rows(op) && !op.group.empty() &&
         before->group == op.group && before->layer == op.layer && op.factored_as.empty();
}

// The softmax is in one kernel with the products around it.
const char* cpu_category(OperatorKind kind) {
  return kind == OperatorKind::kSoftmax ? "attention" : time_category(kind);
}

class CpuSystem : public System {
 public:
  explicit CpuSystem(SystemPreset preset) : preset_(std::move(preset)) {}

  PhaseCost price(const Workload& workload, Phase phase) const override {
    const auto& operators = workload.operators(phase);
    const auto terms =
        cpu_terms(operators, cpu_cached_frac(operators, preset_.value("cache_bytes")));
    PhaseCost cost;
    for (std::size_t i = 0; i < operators.size(); ++i) {
      double ns = 0;
      for (const CpuTerm& term : terms[i]) ns += term.quantity * preset_.value(term.key);
      cost.time_ns.add(cpu_category(operators[i].kind), ns);
      cost.weight_bytes += weight_bytes(operators[i]);
    }
    cost.latency_ns = cost.time_ns.total();
    const double calibrated_bits = 8 * preset_.value("element_bytes");
    if (workload.weight_bits != calibrated_bits) {
      cost.notes.push_back(fmt::format(
          "calibrated with elements of {:.0f} bits, and this workload's have {:g}: bytes are "
          "counted as they are, products as if they were as fast; calibrate with that --dtype",
          calibrated_bits, workload.weight_bits));
    }
    if (std::any_of(operators.begin(), operators.end(),
                    [](const Operator& op) { return !op.weight_format.empty(); })) {
      cost.notes.emplace_back(
          "weight formats of the workload count with their bytes, and are multiplied as if they "
          "were the calibrated elements");
    }
    return cost;
  }
  std::vector<SystemPreset> presets() const override { return {preset_}; }
  std::vector<std::string> notes() const override {
    return {fmt::format("times by a rule calibrated on that machine; whole models: median error "
                        "{:.0f} %, largest {:.0f} %",
                        100 * preset_.value("model_error_median_frac"),
                        100 * preset_.value("model_error_max_frac")),
            "the energy of a CPU is not known"};
  }

 private:
  SystemPreset preset_;
};

}  // namespace

std::vector<std::vector<CpuTerm>> cpu_terms(const std::vector<Operator>& operators,
                                            double cached_frac) {
  std::vector<std::vector<CpuTerm>> all;
  const Operator* before = nullptr;
  for (const Operator& op : operators) {
    auto& terms = all.emplace_back();
    const auto add_call = [&](const char* key) { terms.push_back({key, count_of(op)}); };
    const auto add_streamed = [&] {
      terms.push_back({"cache_ns_per_byte", streamed_bytes(op) * cached_frac});
      terms.push_back({"memory_ns_per_byte", streamed_bytes(op) * (1 - cached_frac)});
    };
    switch (op.kind) {
      case OperatorKind::kLinear:
        if (is_few_rows(op)) {
          if (!shares_call(before, op)) add_call("few_rows_call_ns");
          add_streamed();
          terms.push_back({"few_rows_ns_per_mac", macs(op)});
        } else {
          add_call("linear_call_ns");
          terms.push_back({"linear_ns_per_mac", macs(op)});
          terms.push_back({"linear_ns_per_weight_byte", weight_bytes(op)});
          terms.push_back({"linear_ns_per_row_byte", activation_bytes(op)});
        }
        break;
      // Score, softmax and attend are one kernel for all heads.
      case OperatorKind::kScore:
        if (op.m == 1) {
          terms.push_back({"decode_attention_call_ns", 1});
        } else {
          terms.push_back({"attention_ns_per_query", static_cast<double>(op.m) * count_of(op)});
        }
        [[fallthrough]];
      case OperatorKind::kAttend:
        if (is_decode_attention(op)) {
          add_streamed();
          terms.push_back({"decode_attention_ns_per_mac", macs(op)});
        } else {
          terms.push_back({"attention_ns_per_mac", macs(op)});
        }
        break;
      case OperatorKind::kSoftmax:
        if (op.m > 1) terms.push_back({"attention_ns_per_score", outputs(op)});
        break;
      case OperatorKind::kNorm:
        add_call("norm_call_ns");
        terms.push_back({"norm_ns_per_byte", activation_bytes(op)});
        break;
      case OperatorKind::kActivation:
      case OperatorKind::kEmbedding:
        add_call("activation_call_ns");
        terms.push_back({"activation_ns_per_value", outputs(op)});
        break;
      case OperatorKind::kConv:
        add_call("conv_call_ns");
        terms.push_back({"conv_ns_per_mac", macs(op)});
        break;
      case OperatorKind::kScan:
      case OperatorKind::kStateUpdate:  // no kernel here has it: as the scan of all its channels
        terms.push_back({"scan_call_ns", op.kind == OperatorKind::kScan ? count_of(op) : 1});
        terms.push_back({"scan_ns_per_mac", macs(op)});
        break;
      case OperatorKind::kAllReduce:
      case OperatorKind::kAttention:
        break;  // one machine, nothing to add up
    }
    before = &op;
  }
  return all;
}

double cpu_cached_frac(const std::vector<Operator>& operators, double cache_bytes) {
  double bytes = 0;
  for (const Operator& op : operators) bytes += streamed_bytes(op);
  return bytes > cache_bytes ? cache_bytes / bytes : 1;
}

std::unique_ptr<System> make_cpu_system(const SystemPreset& preset) {
  return std::make_unique<CpuSystem>(preset);
}

}  // namespace lowbank::pim
