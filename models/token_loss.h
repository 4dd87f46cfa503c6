#pragma once

#include <torch/types.h>

namespace lowbank {

class LanguageModel;

/// Negative log-likelihoods of the targets under the model's head, in nats, summed over the rows.
/// Training differentiates this sum.
///
/// A head that is one matrix never makes the whole logits. Before any other head, the rows whose
/// target is kIgnoreIndex are dropped, and the gradient is made in the logits' own memory.
/// Shapes:  hidden [M, D], targets [M] int64 in [0, V) or kIgnoreIndex -> scalar, float32 (float64
///          for float64).
/// Errors:  c10::Error for other shapes, types or targets.
torch::Tensor token_nll_sum(LanguageModel& model, const torch::Tensor& hidden_MD,
                            const torch::Tensor& targets_M);

/// The terms [M] of that sum, without a gradient; 0 where the target is kIgnoreIndex.
torch::Tensor token_nll(LanguageModel& model, const torch::Tensor& hidden_MD,
                        const torch::Tensor& targets_M);

}  // namespace lowbank
