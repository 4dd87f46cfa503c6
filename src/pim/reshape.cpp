#include "pim/reshape.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank::pim {
namespace {

bool is_attention(const Operator& op) {
  return op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend ||
         op.kind == OperatorKind::kSoftmax || op.kind == OperatorKind::kAttention;
}

double area(std::int64_t a, std::int64_t b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

struct Sizes {
  std::int64_t batch = 1;
  std::int64_t context = 1;
};

class Reshaper {
 public:
  Reshaper(const Workload& workload, Phase phase, const Sizes& to)
      : from_{workload.batch, workload.context},
        to_(to),
        phase_(phase),
        value_bytes_(workload.weight_bits / 8) {}

  Operator operator()(const Operator& op) const {
    Operator reshaped = op;
    if (is_attention(op)) {
      reshape_attention(op, reshaped);
    } else if (op.kind == OperatorKind::kStateUpdate) {
      reshaped.count = per_sequence(op, op.count);
      reshaped.m = steps(op);
      reshape_bytes(op, reshaped);
    } else {
      reshaped.m = rows(op);
      reshape_bytes(op, reshaped);
    }
    for (const std::int64_t size : {reshaped.m, reshaped.n, reshaped.k, reshaped.count}) {
      if (size > kMaxDimension) refuse(op, "is beyond 2^40 there");
    }
    std::int64_t product = keeps_state(reshaped.kind) ? 2 : 1;
    for (const std::int64_t size :
         {reshaped.m, reshaped.n, std::max<std::int64_t>(reshaped.k, 1), reshaped.count}) {
      if (__builtin_mul_overflow(product, size, &product)) {
        refuse(op, "counts beyond 63 bits there");
      }
    }
    return reshaped;
  }

 private:
  [[noreturn]] void refuse(const Operator& op, const std::string& why) const {
    throw ConfigError(fmt::format("batch {}, context {}: operator '{}' {}", to_.batch, to_.context,
                                  op.name, why));
  }
  std::int64_t queries() const { return phase_ == Phase::kPrefill ? from_.context : 1; }

  std::int64_t per_sequence(const Operator& op, std::int64_t count) const {
    if (count % from_.batch != 0) {
      refuse(op,
             fmt::format("cannot be derived: its {} are no multiple of the exported batch of {}",
                         count, from_.batch));
    }
    std::int64_t scaled = 0;
    if (__builtin_mul_overflow(count / from_.batch, to_.batch, &scaled)) {
      refuse(op, "counts beyond 63 bits there");
    }
    return scaled;
  }

  // Rows are tokens of all sequences, or one a sequence (a head over the last token, a pooler). A
  // prompt of one token cannot tell them apart and is taken for the former.
  std::int64_t rows(const Operator& op) const {
    std::int64_t m = per_sequence(op, op.m);
    if (phase_ == Phase::kDecode) return m;
    if (op.m % (from_.batch * queries()) == 0) {
      if (__builtin_mul_overflow(m / from_.context, to_.context, &m)) {
        refuse(op, "counts beyond 63 bits there");
      }
    } else if (op.m != from_.batch) {
      refuse(op, fmt::format("cannot be derived: {} rows of {} prompts of {} tokens", op.m,
                             from_.batch, from_.context));
    }
    return m;
  }

  // Of an operator of one sequence and head: its tokens.
  std::int64_t steps(const Operator& op) const {
    if (op.m != queries()) {
      refuse(op, phase_ == Phase::kPrefill ? "cannot be derived: its queries are not the prompt's"
                                           : "cannot be derived: it has more than one query");
    }
    return phase_ == Phase::kPrefill ? to_.context : 1;
  }

  void reshape_attention(const Operator& op, Operator& reshaped) const {
    reshaped.count = per_sequence(op, op.count);
    std::int64_t& keys = num_keys(reshaped);
    if (keys > from_.context) refuse(op, "cannot be derived: it has more keys than the context");
    const std::int64_t window = keys;
    keys = window == from_.context ? to_.context : std::min(window, to_.context);
    reshaped.m = steps(op);
    if (op.kind == OperatorKind::kSoftmax) {
      reshaped.activation_bytes *= area(reshaped.m, reshaped.n) / area(op.m, op.n);
      return;
    }
    const double rest = value_bytes_ * (area(op.m, op.k) + area(op.m, op.n));
    const double cache = op.activation_bytes - rest;
    if (cache > 0) {
      reshaped.activation_bytes =
          value_bytes_ * (area(reshaped.m, reshaped.k) + area(reshaped.m, reshaped.n)) +
          cache * static_cast<double>(keys) / static_cast<double>(window);
    } else {
      reshaped.activation_bytes *= area(reshaped.m, keys) / area(op.m, window);
    }
  }

  void reshape_bytes(const Operator& op, Operator& reshaped) const {
    const double growth = static_cast<double>(reshaped.m) / static_cast<double>(op.m);
    if (op.kind == OperatorKind::kEmbedding) reshaped.weight_bytes *= growth;
    // What a sequence keeps: a convolution's last inputs, float32 states.
    double kept = 0;
    if (op.kind == OperatorKind::kConv) kept = 2 * area(op.n, op.k - 1) * value_bytes_;
    if (keeps_state(op.kind)) kept = 2 * area(op.n, op.k) * sizeof(float);
    // A state update is of one sequence, other operators are of all.
    const bool is_single = op.kind == OperatorKind::kStateUpdate;
    const double kept_before = kept * static_cast<double>(is_single ? 1 : from_.batch);
    const double kept_after = kept * static_cast<double>(is_single ? 1 : to_.batch);
    const double rest = op.activation_bytes - kept_before;
    reshaped.activation_bytes =
        rest >= 0 ? rest * growth + kept_after : op.activation_bytes * growth;
  }

  Sizes from_;
  Sizes to_;
  Phase phase_;
  double value_bytes_;
};

}  // namespace

std::int64_t& num_keys(Operator& op) {
  if (!is_attention(op)) throw std::logic_error("num_keys: " + op.name + " reads no keys");
  return op.kind == OperatorKind::kAttend ? op.k : op.n;
}

bool reads_context(const Operator& op, std::int64_t context) {
  return is_attention(op) && (op.kind == OperatorKind::kAttend ? op.k : op.n) == context;
}

double kept_elements(const Operator& op, std::int64_t batch) {
  switch (op.kind) {
    case OperatorKind::kScore:
    case OperatorKind::kAttend: {
      const std::int64_t num_caches = op.count / op.queries_per_cache;
      return area(op.n, op.k) * static_cast<double>(num_caches);
    }
    case OperatorKind::kStateUpdate:
      return area(op.n, op.k) * static_cast<double>(op.count);
    case OperatorKind::kScan:
      return area(op.n, op.k) * static_cast<double>(batch);
    case OperatorKind::kConv:
      return area(op.n, op.k - 1) * static_cast<double>(batch);
    default:
      return 0;
  }
}

Workload reshape_workload(const Workload& workload, std::int64_t batch, std::int64_t context) {
  for (const auto& [key, value] : {std::pair{"batch", batch}, std::pair{"context", context}}) {
    if (value < 1 || value > kMaxDimension) {
      throw ConfigError(fmt::format("{}: must be in [1, {}]; got {}", key, kMaxDimension, value));
    }
  }
  std::int64_t tokens = 0;
  if (__builtin_mul_overflow(batch, context, &tokens)) {
    throw ConfigError(
        fmt::format("batch x context = {} x {} does not fit in 63 bits", batch, context));
  }
  if (batch == workload.batch && context == workload.context) return workload;
  Workload reshaped = workload;
  reshaped.batch = batch;
  reshaped.context = context;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    auto& operators = phase == Phase::kPrefill ? reshaped.prefill : reshaped.decode;
    const Reshaper reshape(workload, phase, {batch, context});
    std::int64_t macs = 0;
    for (Operator& op : operators) {
      op = reshape(op);
      if (__builtin_add_overflow(macs, op.macs(), &macs)) {
        throw ConfigError(fmt::format(
            "batch {}, context {}: the multiply-accumulates of {} do not fit in 63 bits", batch,
            context, phase_name(phase)));
      }
    }
  }
  return reshaped;
}

Workload with_last_token_head(const Workload& workload) {
  Workload changed = workload;
  std::vector<Operator>& prompt = changed.prefill;
  if (!workload.is_causal()) return changed;
  for (auto op = prompt.rbegin(); op != prompt.rend() && op->layer < 0; ++op) {
    if (op->kind != OperatorKind::kLinear || op->m != workload.tokens(Phase::kPrefill)) continue;
    op->activation_bytes *= static_cast<double>(workload.batch) / static_cast<double>(op->m);
    op->m = workload.batch;
  }
  return changed;
}

std::vector<Operator> fuse_attention(const std::vector<Operator>& operators) {
  std::vector<Operator> fused;
  fused.reserve(operators.size());
  for (std::size_t i = 0; i < operators.size(); ++i) {
    const Operator& op = operators[i];
    if (op.kind == OperatorKind::kScore && i + 2 < operators.size()) {
      const Operator& softmax = operators[i + 1];
      const Operator& attend = operators[i + 2];
      if (softmax.kind == OperatorKind::kSoftmax && attend.kind == OperatorKind::kAttend &&
          softmax.n == op.n && attend.k == op.n && attend.n == op.k && attend.m == op.m &&
          attend.count == op.count && attend.queries_per_cache == op.queries_per_cache) {
        fused.push_back(op);
        fused.back().kind = OperatorKind::kAttention;
        i += 2;
        continue;
      }
    }
    fused.push_back(op);
  }
  return fused;
}

std::vector<Operator> split_over_gpus(const std::vector<Operator>& operators, std::int64_t batch,
                                      std::int64_t num_gpus) {
  if (num_gpus == 1) return operators;
  const auto part = [&](std::int64_t size) { return (size - 1) / num_gpus + 1; };
  std::vector<Operator> parts;
  parts.reserve(operators.size() * 5 / 4);
  bool is_split = false;  // what flows between operators is one GPU's part of the channels
  bool splits_output = false;
  const Operator* before = nullptr;
  for (const Operator& op : operators) {
    Operator mine = op;
    std::int64_t reduced_columns = 0;
    switch (op.kind) {
      case OperatorKind::kLinear: {
        const bool is_first = !op.factored_as.empty() && op.stage == 0;
        const bool is_second = !op.factored_as.empty() && op.stage == 1;
        // Linears of a group have the same input, so they are split alike.
        const bool goes_on = before != nullptr && before->kind == OperatorKind::kLinear &&
                             (is_second || (!op.group.empty() && before->group == op.group));
        if (!goes_on) splits_output = !is_split;
        if (op.tile > 0) {
          std::int64_t& inner = is_first ? mine.n : mine.k;  // tiles x rank
          if (splits_output == is_first) {
            inner = part(inner / op.rank) * op.rank;
          } else {
            mine.count = part(op.count);
          }
          if (!splits_output && is_second) reduced_columns = op.out_features();
        } else if (splits_output) {
          if (!is_first) mine.n = part(op.n);
        } else if (!is_second) {
          mine.k = part(op.k);
          reduced_columns = op.n;
        }
        mine.weight_bytes *= area(mine.n, mine.k) / area(op.n, op.k);
        is_split = splits_output;
        break;
      }
      case OperatorKind::kScore:
      case OperatorKind::kAttend:
      case OperatorKind::kSoftmax:
      case OperatorKind::kAttention:
      case OperatorKind::kStateUpdate: {
        const std::int64_t heads = std::max<std::int64_t>(op.count / batch, 1);
        if (num_gpus > heads) {
          throw ConfigError(fmt::format("num_gpus: '{}' has {} heads to deal out; got {} GPUs",
                                        op.name, heads, num_gpus));
        }
        mine.count = op.count / heads * part(heads);
        mine.queries_per_cache = std::gcd(op.queries_per_cache, part(heads));
        break;
      }
      case OperatorKind::kActivation:
      case OperatorKind::kConv:
      case OperatorKind::kScan:
        if (is_split) {
          mine.n = part(op.n);
          const double share = static_cast<double>(mine.n) / static_cast<double>(op.n);
          mine.weight_bytes *= share;
          mine.activation_bytes *= share;
        }
        break;
      case OperatorKind::kNorm:
      case OperatorKind::kEmbedding:
      case OperatorKind::kAllReduce:
        break;
    }
    parts.push_back(std::move(mine));
    before = &op;
    if (reduced_columns > 0) {
      Operator sum;
      sum.kind = OperatorKind::kAllReduce;
      sum.name = op.name;
      sum.layer = op.layer;
      sum.m = op.m;
      sum.n = reduced_columns;
      parts.push_back(std::move(sum));
    }
  }
  return parts;
}

}  // namespace lowbank::pim
