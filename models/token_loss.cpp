#include "models/token_loss.h"

#include <c10/core/GradMode.h>

#include "kernels/cross_entropy.h"
#include "models/language_model.h"

namespace lowbank {
namespace {

torch::Tensor logits_of(LanguageModel& model, const torch::Tensor& hidden_MD) {
  return model.head(hidden_MD.unsqueeze(0)).squeeze(0);
}

}  // namespace

torch::Tensor token_nll_sum(LanguageModel& model, const torch::Tensor& hidden_MD,
                            const torch::Tensor& targets_M) {
  if (const auto weight_VD = model.head_weight(); weight_VD.defined()) {
    return linear_cross_entropy(hidden_MD, weight_VD, targets_M);
  }
  const auto kept = (targets_M != kIgnoreIndex).nonzero().squeeze(1);
  if (kept.size(0) == targets_M.size(0)) {
    return softmax_cross_entropy_(logits_of(model, hidden_MD), targets_M);
  }
  return softmax_cross_entropy_(logits_of(model, hidden_MD.index_select(0, kept)),
                                targets_M.index_select(0, kept));
}

torch::Tensor token_nll(LanguageModel& model, const torch::Tensor& hidden_MD,
                        const torch::Tensor& targets_M) {
  const c10::NoGradGuard no_grad;
  if (const auto weight_VD = model.head_weight(); weight_VD.defined()) {
    return linear_nll(hidden_MD, weight_VD, targets_M);
  }
  return softmax_nll_(logits_of(model, hidden_MD), targets_M);
}

}  // namespace lowbank
