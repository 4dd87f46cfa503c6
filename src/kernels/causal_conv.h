#pragma once

#include <torch/types.h>

namespace lowbank {

/// Operands of a depthwise causal convolution over B sequences, T tokens and D channels. Rows of x
/// may be a strided slice. A state is the inputs before the first token.
struct CausalConvInput {
  torch::Tensor x_BTD;                   ///< its type is y's
  torch::Tensor weight_DW;               ///< conv1d.weight.squeeze(1): the last is the newest's
  torch::Tensor bias_D = {};             ///< may be undefined
  torch::Tensor initial_state_BWD = {};  ///< [B, W - 1, D]; may be undefined: zeros
  bool silu = true;                      ///< y = silu(conv + bias), else conv + bias
};

struct CausalConvOutput {
  torch::Tensor y_BTD;
  torch::Tensor final_state_BWD;  ///< [B, W - 1, D]: the last inputs, in the type of x
};

/// y_t = silu(bias + sum_w weight[w] x_{t - W + 1 + w}) for each channel. Differentiable once in
/// all operands, both states included. Computes in float32 (double if x is). On the CPU the result
/// does not depend on the number of threads; elsewhere `causal_conv_reference`, or
/// liblowbank_cuda.so's.
///
/// Source:  Mamba's mixer (conv1d with groups = channels and padding W - 1, cut to T).
/// Differs: channels last; the state holds W - 1 tokens, not W.
/// Errors:  c10::Error on shapes that do not fit, and from a second derivative (the reference has
/// it).
CausalConvOutput causal_conv(const CausalConvInput& input);

/// The same through at::conv1d: what the others are tested against.
CausalConvOutput causal_conv_reference(const CausalConvInput& input);

/// One token: x [B, D] gives y [B, D]. Drops the oldest input of the state [B, W - 1, D]
/// (contiguous, of x's type) and appends x. No gradients.
torch::Tensor causal_conv_step(const torch::Tensor& state_BWD, const torch::Tensor& x_BD,
                               const torch::Tensor& weight_DW, const torch::Tensor& bias_D,
                               bool silu = true);

}  // namespace lowbank
