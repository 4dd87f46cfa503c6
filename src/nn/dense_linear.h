#pragma once

#include <memory>

#include "nn/layer_kinds.h"
#include "nn/linear.h"

namespace lowbank {

/// y = x W^T + b.
///
/// Shapes:  weight [O, I], bias [O] or undefined.
class DenseLinear : public Linear {
 public:
  DenseLinear(torch::Tensor weight_OI, torch::Tensor bias_O);
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) override;
  std::int64_t in_features() const override { return weight.size(1); }
  std::int64_t out_features() const override { return weight.size(0); }
  std::string_view kind() const override { return "dense"; }
  std::vector<LinearProduct> products() const override;
  std::optional<DenseMatrix> as_dense() const override { return DenseMatrix{weight, bias}; }
  std::vector<ParameterDim> along(Side side) const override;

  torch::Tensor weight;
  torch::Tensor bias;
};

std::shared_ptr<Linear> build_dense_linear(const LayerPlan& plan);

}  // namespace lowbank
