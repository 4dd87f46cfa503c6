#pragma once

#include <torch/types.h>

namespace lowbank {

/// Heads turned by their positions, in the layout where the first half of a head turns with the
/// second: y = x cos + roll(x, E / 2) sin, and the heads moved before the positions as attention
/// wants them.
///
/// Source:  Su et al. 2021 (RoFormer); the half-split layout as in transformers' rotate_half, whose
///          sign the sines carry.
/// Shapes:  x [B, T, H, E], cos and sin [T, 1, E] of x's type -> [B, H, T, E], contiguous.
torch::Tensor rotary(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                     const torch::Tensor& sin_T1E);

/// The same into `out` [B, H, T, E], as it may lie in a cache of keys; no gradients.
void rotary_(const torch::Tensor& out_BHTE, const torch::Tensor& x_BTHE,
             const torch::Tensor& cos_T1E, const torch::Tensor& sin_T1E);

}  // namespace lowbank
