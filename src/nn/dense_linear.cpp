#include "nn/dense_linear.h"

#include <utility>

#include <c10/util/Exception.h>

#include "kernels/linear.h"

namespace lowbank {

DenseLinear::DenseLinear(torch::Tensor weight_OI, torch::Tensor bias_O) {
  TORCH_CHECK(weight_OI.dim() == 2, "DenseLinear: weight must be [O, I], got ", weight_OI.sizes());
  TORCH_CHECK(!bias_O.defined() || bias_O.sizes() == weight_OI.sizes().slice(0, 1),
              "DenseLinear: bias ", bias_O.sizes(), " does not fit weight ", weight_OI.sizes());
  // Row-major, as in a file. Another layout gives other last bits, and a model must give the same
  // results before and after it is saved.
  weight = register_parameter("weight", weight_OI.contiguous());
  if (bias_O.defined()) bias = register_parameter("bias", std::move(bias_O));
}

torch::Tensor DenseLinear::forward(const torch::Tensor& x_I, const Pass& /*pass*/) {
  return apply_linear(x_I, weight, bias);
}

std::vector<LinearProduct> DenseLinear::products() const {
  return {{.in_features = in_features(), .out_features = out_features()}};
}

std::vector<ParameterDim> DenseLinear::along(Side side) const {
  if (side == Side::kIn) return {{"weight", 1}};
  if (!bias.defined()) return {{"weight", 0}};
  return {{"weight", 0}, {"bias", 0}};
}

std::shared_ptr<Linear> build_dense_linear(const LayerPlan& plan) {
  auto weight = plan.take("weight", {plan.out_features, plan.in_features});
  return std::make_shared<DenseLinear>(std::move(weight), plan.take_bias());
}

}  // namespace lowbank
