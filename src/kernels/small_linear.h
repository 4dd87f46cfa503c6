#pragma once

#include <vector>

#include <torch/types.h>

namespace lowbank {

/// Whether small_linear runs its own loops: float32 or bfloat16 on the CPU, contiguous, at most 8
/// rows of x, and no gradient wanted. Otherwise it is at::linear.
bool serves_small_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                         const torch::Tensor& bias_O = {});

/// x weight^T + bias for few rows of x, as in decoding; it takes about as long as reading the
/// weights. Sums are in float32; the bits do not depend on the number of threads.
///
/// Shapes:  x [..., I], weight [O, I], bias [O] of the weight's type, or undefined
///          -> [..., O] of x's type.
/// Errors:  c10::Error if the shapes do not fit.
torch::Tensor small_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                           const torch::Tensor& bias_O = {});

/// small_linear of the same x with each weight; the threads share the work as if it were one
/// product. `biases` is empty or as long as `weights`; a bias may be undefined.
std::vector<torch::Tensor> small_linear_group(const torch::Tensor& x_I,
                                              const std::vector<torch::Tensor>& weights_OI,
                                              const std::vector<torch::Tensor>& biases_O = {});

}  // namespace lowbank
