#include "compress/compress_model.h"

#include <algorithm>

#include <ATen/ops/linalg_vector_norm.h>
#include <fmt/format.h>

#include "compress/rank_policy.h"
#include "compress/truncate_svd.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/regex.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"

namespace lowbank {
namespace {

DenseMatrix matrix_of(const LinearSlot& slot) {
  auto matrix = slot.get().to_dense();
  if (!matrix.has_value()) {
    throw ConfigError(fmt::format("{}: compress cannot make a matrix of a layer of kind '{}'",
                                  slot.path(), slot.get().kind()));
  }
  return {.weight_OI = matrix->weight_OI.detach(), .bias_O = matrix->bias_O};
}

// The layer's rank; 0 if it is not factored.
std::int64_t rank_of(const Linear& linear) { return linear.products().front().rank; }

LinearChange describe(const LinearSlot& slot) {
  const Linear& linear = slot.get();
  return {.path = slot.path(),
          .kind = std::string(linear.kind()),
          .out_features = linear.out_features(),
          .in_features = linear.in_features(),
          .rank = rank_of(linear),
          .break_even_rank = break_even_rank(linear.out_features(), linear.in_features()),
          .params_before = count_elements(linear),
          .params_after = count_elements(linear)};
}

[[noreturn]] void reject_choice(const CompressReport& report, const std::string& what) {
  std::string some;
  for (std::size_t i = 0; i < report.linears.size() && i < 7; ++i) {
    some += (i == 0 ? "" : ", ") + report.linears[i].path;
  }
  throw ConfigError(fmt::format("modules: {}; the model's linears begin with {}", what, some));
}

// Describes all slots, calls `change` on the chosen ones, and records what it did.
template <class Change>
CompressReport change_linears(std::span<LinearSlot> slots, const LinearChoice& choice,
                              Change change) {
  CompressReport report;
  for (auto& slot : slots) {
    stop_if_interrupted();
    LinearChange entry = describe(slot);
    if (choice(slot.path(), slot.role()) && change(slot, entry)) {
      entry.changed = true;
      entry.kind = std::string(slot.get().kind());
      entry.rank = rank_of(slot.get());
      entry.params_after = count_elements(slot.get());
    }
    report.linears.push_back(std::move(entry));
  }
  return report;
}

bool changed_any(const CompressReport& report) {
  for (const auto& linear : report.linears) {
    if (linear.changed) return true;
  }
  return false;
}

}  // namespace

LinearChoice::LinearChoice(const std::vector<std::string>& patterns) {
  if (patterns.empty()) {
    matches_ = [](const std::string&, LinearRole role) {
      return role == LinearRole::kAttention || role == LinearRole::kMlp ||
             role == LinearRole::kMixer;
    };
    return;
  }
  std::vector<Regex> expressions;
  for (const auto& pattern : patterns) {
    try {
      expressions.emplace_back(pattern);
    } catch (const RegexError& e) {
      throw ConfigError(fmt::format("modules: {}", e.what()));
    }
  }
  matches_ = [expressions](const std::string& path, LinearRole) {
    return std::any_of(expressions.begin(), expressions.end(),
                       [&](const Regex& expression) { return expression.is_in(path); });
  };
}

bool LinearChoice::operator()(const std::string& path, LinearRole role) const {
  return matches_(path, role);
}

CompressReport factor_linears(std::span<LinearSlot> slots, const LinearChoice& choice,
                              const RankPolicy& policy,
                              const std::function<void(std::int64_t)>& on_linear) {
  std::int64_t num_svds = 0;
  auto report = change_linears(slots, choice, [&](LinearSlot& slot, LinearChange& entry) {
    const auto [weight_OI, bias_O] = matrix_of(slot);
    const auto full = thin_svd(weight_OI);
    const auto rank = policy.rank(slot.path(), entry.out_features, entry.in_features, full.s_R);
    const auto factors = truncate_svd(full, rank);
    entry.relative_error = truncation_error(full, rank);
    const auto options = weight_OI.options();
    slot.replace(std::make_shared<SvdLinear>(factors.u_OR.to(options), factors.s_R.to(options),
                                             factors.vh_RI.to(options), bias_O));
    on_linear(++num_svds);
    return true;
  });
  report.num_svds = num_svds;
  if (!changed_any(report)) reject_choice(report, "no linear layer matches");
  return report;
}

CompressReport make_linears_dense(std::span<LinearSlot> slots, const LinearChoice& choice) {
  auto report = change_linears(slots, choice, [](LinearSlot& slot, LinearChange&) {
    if (slot.get().as_dense().has_value()) return false;
    const auto [weight_OI, bias_O] = matrix_of(slot);
    slot.replace(std::make_shared<DenseLinear>(weight_OI, bias_O));
    return true;
  });
  if (!changed_any(report)) reject_choice(report, "no matching layer is factored");
  return report;
}

}  // namespace lowbank
