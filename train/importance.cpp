#include "train/importance.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "kernels/linear.h"
#include "train/objective.h"
#include "train/text_examples.h"

namespace lowbank {
namespace {

struct GradientSums {
  torch::Tensor abs_R, square_R, signed_R;  // double
};

void add_gradients(GradientSums& sums, const torch::Tensor& h_BTR, const torch::Tensor& grad_BTR) {
  const at::NoGradGuard no_grad;
  const auto g_BR = (h_BTR.to(at::kFloat) * grad_BTR.to(at::kFloat)).sum(1).to(at::kDouble);
  sums.abs_R.add_(g_BR.abs().sum(0));
  sums.square_R.add_(g_BR.square().sum(0));
  sums.signed_R.add_(g_BR.sum(0));
}

// A copy of `layer` that shares its factors; its backward pass adds each example's gradient of s to
// `sums`.
class ListeningSvd : public SvdLinear {
 public:
  ListeningSvd(const SvdLinear& layer, GradientSums& sums)
      : SvdLinear(layer.u, layer.s, layer.vh, layer.bias), sums_(sums) {}
  torch::Tensor forward(const torch::Tensor& x_BTI, const Pass& /*pass*/) override {
    const auto h_BTR = apply_linear(x_BTI, vh);
    const auto scaled_BTR = h_BTR * s;
    scaled_BTR.register_hook([this, h_BTR = h_BTR.detach()](const torch::Tensor& grad_BTR) {
      add_gradients(sums_, h_BTR, grad_BTR);
    });
    return apply_linear(scaled_BTR, u, bias);
  }

 private:
  GradientSums& sums_;
};

// While this object lives, only the scales s require gradients, because those of the large factors
// are not needed. The destructor restores layers, flags and gradients, also after an exception.
class ScaleGradients {
 public:
  explicit ScaleGradients(LanguageModel& model) {
    for (auto& parameter : model.parameters()) {
      saved_.push_back({parameter, parameter.requires_grad()});
    }
    for (auto& slot : model.slots()) {
      auto* const former = find_factors(slot, "importance");
      if (former == nullptr) continue;
      const auto zeros_R =
          at::zeros({former->rank()}, former->s.options().dtype(at::kDouble).requires_grad(false));
      auto& layer = *layers_.emplace_back(std::make_unique<Layer>());
      layer = {.slot = slot,
               .former = std::static_pointer_cast<SvdLinear>(former->shared_from_this()),
               .listening = nullptr,
               .grad_R = former->s.grad(),
               .sums = {zeros_R, zeros_R.clone(), zeros_R.clone()}};
      layer.listening = std::make_shared<ListeningSvd>(*former, layer.sums);
      slot.replace(*former, layer.listening);
    }
    // A new layer requires gradients of all its parameters, so this loop comes last.
    for (auto& parameter : model.parameters()) parameter.set_requires_grad(false);
    for (auto& layer : layers_) layer->former->s.set_requires_grad(true);
  }
  ~ScaleGradients() {
    for (auto& layer : layers_) {
      layer->slot.replace(*layer->listening, layer->former);
      layer->former->s.mutable_grad() = layer->grad_R;
    }
    for (auto& [parameter, requires_grad] : saved_) parameter.set_requires_grad(requires_grad);
  }
  ScaleGradients(const ScaleGradients&) = delete;
  ScaleGradients& operator=(const ScaleGradients&) = delete;

  const GradientSums& sums(std::size_t layer) const { return layers_[layer]->sums; }

 private:
  struct Layer {
    LinearSlot slot;
    std::shared_ptr<SvdLinear> former;
    std::shared_ptr<ListeningSvd> listening;
    torch::Tensor grad_R;
    GradientSums sums;
  };
  std::vector<std::pair<torch::Tensor, bool>> saved_;
  std::vector<std::unique_ptr<Layer>> layers_;
};

}  // namespace

std::vector<FactoredLinear> factored_linears(LanguageModel& model) {
  std::vector<FactoredLinear> linears;
  for (const auto& slot : model.slots()) {
    if (auto* const linear = find_factors(slot, "importance")) {
      linears.push_back({.path = slot.path(), .linear = linear});
    }
  }
  return linears;
}

RankImportance collect_importance(LanguageModel& model, const TextDataset& dataset,
                                  std::int64_t max_examples, std::int64_t batch_size) {
  const auto linears = factored_linears(model);
  TORCH_CHECK(!linears.empty(), "collect_importance: the model has no factored linear");
  const auto device = linears.front().linear->s.device();
  const std::int64_t num_examples =
      max_examples == 0 ? dataset.size() : std::min(max_examples, dataset.size());
  ScaleGradients gradients(model);
  ProgressBar bar("importance", num_examples, "example");
  std::vector<std::int64_t> indices;
  for (std::int64_t begin = 0; begin < num_examples; begin += batch_size) {
    if (interrupt_requested()) {
      throw Interrupted(
          "stopped while collecting importance; the same command with --resume goes "
          "on from the last saved step");
    }
    indices.resize(static_cast<std::size_t>(std::min(batch_size, num_examples - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    const auto ids_BT = dataset.batch(indices).to(device);
    // In the sum of the examples' losses, each example's gradient is that of its own loss.
    (TokenObjective().loss_sum(model, next_token_batch(ids_BT)) /
     static_cast<double>(ids_BT.size(1) - 1))
        .backward();
    bar.update(begin + ids_BT.size(0));
  }

  RankImportance importance;
  importance.num_examples = num_examples;
  const auto count = static_cast<double>(num_examples);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const auto& sums = gradients.sums(i);
    const std::int64_t rank = linears[i].linear->rank();
    const auto finish = [](const torch::Tensor& value_R) {
      return value_R.detach().to(at::kCPU, at::kFloat).contiguous();
    };
    importance.layers[linears[i].path] = {
        {"abs_grad", finish(sums.abs_R / count)},
        {"fisher", finish(sums.square_R / count)},
        {"signed", finish((sums.signed_R / count).abs())},
        {"magnitude", finish(linears[i].linear->s.abs())},
        {"rank_order", at::arange(rank, 0, -1, at::TensorOptions(at::kFloat))}};
  }
  return importance;
}

double top_share(const torch::Tensor& importance_R, double rank_frac) {
  TORCH_CHECK(
      importance_R.dim() == 1 && importance_R.numel() > 0 && rank_frac >= 0 && rank_frac <= 1,
      "top_share: importance [R] and rank_frac in [0, 1], got ", importance_R.sizes(), " and ",
      rank_frac);
  const auto sorted_R =
      std::get<0>(importance_R.to(at::kCPU, at::kDouble).sort(/*dim=*/0, /*descending=*/true));
  const double total = sorted_R.sum().item<double>();
  if (total == 0) return rank_frac;
  const double position = rank_frac * static_cast<double>(sorted_R.numel());
  const auto whole = static_cast<std::int64_t>(std::floor(position));
  double held = sorted_R.narrow(0, 0, whole).sum().item<double>();
  if (whole < sorted_R.numel()) {
    held += (position - static_cast<double>(whole)) * sorted_R[whole].item<double>();
  }
  return held / total;
}

double mean_top_share(const RankImportance& importance, const std::string& measure,
                      double rank_frac) {
  double sum = 0;
  for (const auto& [path, measures] : importance.layers) {
    sum += top_share(measures.at(measure), rank_frac);
  }
  return sum / static_cast<double>(importance.layers.size());
}

}  // namespace lowbank
