#pragma once

#include "nn/linear.h"

namespace lowbank {

/// Low-rank stand-in for a dense layer: y = ((x vh^T) * s) u^T + b.
///
/// Source:  HyFlexPIM (Song et al., ISCA 2025), arXiv 2506.00020, the factored forward pass.
/// Differs: never builds the dense product; holds exactly R (I + O) + R (+ O) parameters.
/// Shapes:  u [O, R], s [R], vh [R, I], bias [O] or undefined.
class SvdLinear : public Linear {
 public:
  SvdLinear(torch::Tensor u_OR, torch::Tensor s_R, torch::Tensor vh_RI, torch::Tensor bias_O);
  torch::Tensor forward(const torch::Tensor& x_I) override;
  std::int64_t in_features() const override { return vh.size(1); }
  std::int64_t out_features() const override { return u.size(0); }
  std::string_view kind() const override { return "svd"; }
  std::int64_t rank() const override { return s.size(0); }
  std::vector<LinearStage> stages() const override;
  /// u diag(s) vh, [O, I].
  torch::Tensor dense_weight() const;

  torch::Tensor u, s, vh, bias;

  /// When set, forward hands out the scaled product it made: (h [..., R] = x vh^T, h * s). The
  /// importance pass takes each example's gradient of s from the second one's gradient.
  std::function<void(const torch::Tensor& h_R, const torch::Tensor& scaled_R)> on_scaled;
};

}  // namespace lowbank
