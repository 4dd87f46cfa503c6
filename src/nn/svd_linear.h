#pragma once

#include <memory>
#include <string_view>

#include "nn/layer_kinds.h"
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
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) override;
  std::int64_t in_features() const override { return vh.size(1); }
  std::int64_t out_features() const override { return u.size(0); }
  std::string_view kind() const override { return "svd"; }
  LayerRecord record() const override;
  std::vector<LinearProduct> products() const override;
  std::optional<DenseMatrix> to_dense() const override { return DenseMatrix{dense_weight(), bias}; }
  std::vector<ParameterDim> along(Side side) const override;
  std::int64_t rank() const { return s.size(0); }
  /// u diag(s) vh, [O, I].
  torch::Tensor dense_weight() const;

  torch::Tensor u, s, vh, bias;
};

std::shared_ptr<Linear> build_svd_linear(const LayerPlan& plan);

/// The factored layer that is the innermost of a slot; nullptr if the innermost layer is dense.
/// Errors: ConfigError if the innermost layer is of another kind. The message names the kind, the
/// slot, and `purpose`, the operation that cannot work on it.
SvdLinear* find_factors(const LinearSlot& slot, std::string_view purpose);

}  // namespace lowbank
