#pragma once

#include <torch/types.h>

namespace lowbank {

/// x weight^T + bias, computed by the fastest function for the shapes: small_linear for few rows,
/// oneDNN for large products of float32 on the CPU (4 to 30 % faster than the library behind
/// at::linear on AMD's cores, docs/performance.md), else at::linear. Differentiable, but only once
/// where oneDNN computes.
///
/// Shapes:  x [..., I], weight [O, I] (any strides), bias [O] or undefined -> [..., O].
/// Errors:  c10::Error if the shapes do not fit.
torch::Tensor apply_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                           const torch::Tensor& bias_O = {});

}  // namespace lowbank
