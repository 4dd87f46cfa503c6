#pragma once

#include "nn/linear.h"

namespace lowbank {

/// y = x W^T + b.
///
/// Shapes:  weight [O, I], bias [O] or undefined.
class DenseLinear : public Linear {
 public:
  DenseLinear(torch::Tensor weight_OI, torch::Tensor bias_O);
  torch::Tensor forward(const torch::Tensor& x_I) override;
  std::int64_t in_features() const override { return weight.size(1); }
  std::int64_t out_features() const override { return weight.size(0); }
  std::string_view kind() const override { return "dense"; }
  std::vector<LinearStage> stages() const override;

  torch::Tensor weight;
  torch::Tensor bias;
};

}  // namespace lowbank
