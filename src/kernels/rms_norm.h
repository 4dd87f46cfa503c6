#pragma once

#include <utility>

#include <torch/types.h>

namespace lowbank {

/// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 and cast back to x's
/// type before the weight. Forward and backward take one pass over memory each; x and one float32
/// for each row are saved for the backward pass.
///
/// Source:  Zhang and Sennrich 2019; order of the casts as in transformers' LlamaRMSNorm.
/// Shapes:  x [..., D], weight [D] -> [..., D]. The bits do not depend on the number of threads.
torch::Tensor rms_norm(const torch::Tensor& x_D, const torch::Tensor& weight_D, double eps);

struct AddRmsNorm {
  torch::Tensor sum_D;     ///< x + residual
  torch::Tensor normed_D;  ///< rms_norm(sum)
};

/// The addition of a residual block and the norm that follows it, in one pass.
AddRmsNorm add_rms_norm(const torch::Tensor& x_D, const torch::Tensor& residual_D,
                        const torch::Tensor& weight_D, double eps);

}  // namespace lowbank
