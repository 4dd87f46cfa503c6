#include "compress/compress_model.h"

#include <regex>

#include <ATen/ops/linalg_vector_norm.h>
#include <fmt/format.h>

#include "compress/rank_policy.h"
#include "compress/truncate_svd.h"
#include "core/error.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"

namespace lowbank {
namespace {

std::int64_t count_elements(const Linear& linear) {
  std::int64_t count = 0;
  for (const auto& parameter : linear.parameters()) count += parameter.numel();
  return count;
}

struct WeightAndBias {
  torch::Tensor weight_OI, bias_O;
};

WeightAndBias weight_and_bias(const Linear& linear) {
  if (const auto* dense = dynamic_cast<const DenseLinear*>(&linear)) {
    return {dense->weight.detach(), dense->bias};
  }
  const auto* svd = dynamic_cast<const SvdLinear*>(&linear);
  TORCH_CHECK(svd != nullptr, "compress: no weight in a layer of kind ", linear.kind());
  return {svd->dense_weight().detach(), svd->bias};
}

LinearChange describe(const std::string& path, const Linear& linear) {
  return {.path = path,
          .kind = std::string(linear.kind()),
          .out_features = linear.out_features(),
          .in_features = linear.in_features(),
          .rank = linear.rank(),
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

// Visits the chosen slots, describes all of them, and fills in what `change` did.
template <class Change>
CompressReport change_linears(const SlotWalk& walk, const LinearChoice& choice, Change change) {
  CompressReport report;
  walk([&](const std::string& path, LinearSlot& slot) {
    LinearChange entry = describe(path, slot.get());
    if (choice(path, slot.role()) && change(path, slot, entry)) {
      entry.changed = true;
      entry.kind = std::string(slot.get().kind());
      entry.rank = slot.get().rank();
      entry.params_after = count_elements(slot.get());
    }
    report.linears.push_back(std::move(entry));
  });
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
  std::vector<std::regex> expressions;
  for (const auto& pattern : patterns) {
    try {
      expressions.emplace_back(pattern);
    } catch (const std::regex_error& e) {
      throw ConfigError(
          fmt::format("modules: '{}' is no regular expression: {}", pattern, e.what()));
    }
  }
  matches_ = [expressions](const std::string& path, LinearRole) {
    for (const auto& expression : expressions) {
      if (std::regex_search(path, expression)) return true;
    }
    return false;
  };
}

bool LinearChoice::operator()(const std::string& path, LinearRole role) const {
  return matches_(path, role);
}

CompressReport factor_linears(const SlotWalk& walk, const LinearChoice& choice,
                              const RankPolicy& policy,
                              const std::function<void(std::int64_t)>& on_linear) {
  std::int64_t num_svds = 0;
  auto report = change_linears(
      walk, choice, [&](const std::string& path, LinearSlot& slot, LinearChange& entry) {
        const auto [weight_OI, bias_O] = weight_and_bias(slot.get());
        const auto full = thin_svd(weight_OI);
        const auto rank = policy.rank(path, entry.out_features, entry.in_features, full.s_R);
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

CompressReport make_linears_dense(const SlotWalk& walk, const LinearChoice& choice) {
  auto report =
      change_linears(walk, choice, [](const std::string&, LinearSlot& slot, LinearChange&) {
        if (slot.get().kind() == "dense") return false;
        const auto [weight_OI, bias_O] = weight_and_bias(slot.get());
        slot.replace(std::make_shared<DenseLinear>(weight_OI, bias_O));
        return true;
      });
  if (!changed_any(report)) reject_choice(report, "no matching layer is factored");
  return report;
}

}  // namespace lowbank
