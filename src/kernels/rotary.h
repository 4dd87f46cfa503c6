#pragma once

#include <torch/types.h>

namespace lowbank {

/// Rotates heads by their positions, in the layout in which an element of the first half of a head
/// is paired with one of the second half: y = x cos + roll(x, E / 2) sin. The result has heads
/// before positions, as attention needs them.
///
/// Source:  Su et al. 2021 (RoFormer); the half-split layout as in transformers' rotate_half, whose
///          sign the sines carry.
/// Shapes:  x [B, T, H, E], cos and sin [T, 1, E] of x's type -> [B, H, T, E], contiguous.
torch::Tensor rotary(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                     const torch::Tensor& sin_T1E);

/// The same, written into `out` [B, H, T, E], which may be a view of a cache of keys; no gradients.
void rotary_(const torch::Tensor& out_BHTE, const torch::Tensor& x_BTHE,
             const torch::Tensor& cos_T1E, const torch::Tensor& sin_T1E);

}  // namespace lowbank
