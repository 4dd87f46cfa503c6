#pragma once

#include <cstdint>

#include <torch/types.h>

namespace lowbank {

/// A loss ignores targets with this value.
inline constexpr std::int64_t kIgnoreIndex = -100;

/// Sum over the rows of -log softmax(hidden weight^T)[target]. The logits of only a few rows exist
/// at a time: the forward pass computes the gradients of hidden and weight from them, if these are
/// wanted, and the backward pass only scales the gradients.
///
/// Source:  the chunking of Liger Kernel's fused linear cross-entropy (Hsu et al. 2024,
///          arXiv:2410.10989).
/// Differs: sums and the weight's gradient are in float32 whatever the inputs; the products leave
///          ignored rows out; the gradient is that of the sum, not of the mean.
/// Shapes:  hidden [M, D] and weight [V, D] of one type, targets [M] int64, in [0, V) or
///          kIgnoreIndex; the result is a scalar, float32 (float64 for float64).
/// Errors:  c10::Error for other shapes, types or targets; for a second backward pass through one
///          result, and for a derivative of the gradient.
torch::Tensor linear_cross_entropy(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                                   const torch::Tensor& targets_M);

/// The terms of that sum [M] without a gradient; 0 where the target is kIgnoreIndex.
torch::Tensor linear_nll(const torch::Tensor& hidden_MD, const torch::Tensor& weight_VD,
                         const torch::Tensor& targets_M);

/// The same sum for given logits [M, V]. The caller must not use the logits afterwards: their
/// memory becomes the gradient, so that no second tensor of that size is needed.
///
/// Errors:  as linear_cross_entropy; c10::Error for logits that are a leaf and require a gradient.
torch::Tensor softmax_cross_entropy_(const torch::Tensor& logits_MV,
                                     const torch::Tensor& targets_M);

/// The terms of that sum [M] without a gradient. The memory of the logits is overwritten as well.
torch::Tensor softmax_nll_(const torch::Tensor& logits_MV, const torch::Tensor& targets_M);

}  // namespace lowbank
