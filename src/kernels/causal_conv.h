#pragma once

#include <torch/types.h>

namespace lowbank {

/// Operands of a depthwise causal convolution over B sequences, T tokens and D channels. Rows of x
/// may be a strided slice. A state holds the inputs before the first token.
struct CausalConvInput {
  torch::Tensor x_BTD;                   ///< y gets the type of x
  torch::Tensor weight_DW;               ///< conv1d.weight.squeeze(1); the last meets the newest x
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
/// does not depend on the number of threads. On another device liblowbank_cuda.so computes, or
/// `causal_conv_reference`.
///
/// Source:  Mamba's mixer (conv1d with groups = channels and padding W - 1, cut to T).
/// Differs: channels last; the state holds W - 1 tokens, not W.
/// Errors:  c10::Error for shapes that do not fit, and for a second derivative (use the reference
///          for that).
CausalConvOutput causal_conv(const CausalConvInput& input);

/// The same computed with at::conv1d. Tests compare the other implementations with this one.
CausalConvOutput causal_conv_reference(const CausalConvInput& input);

/// One token: x [B, D] gives y [B, D]. Drops the oldest input of the state [B, W - 1, D]
/// (contiguous, of x's type) and appends x. No gradients.
torch::Tensor causal_conv_step(const torch::Tensor& state_BWD, const torch::Tensor& x_BD,
                               const torch::Tensor& weight_DW, const torch::Tensor& bias_D,
                               bool silu = true);

}  // namespace lowbank
