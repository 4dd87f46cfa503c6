#include "nn/svd_linear.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/matmul.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "core/error.h"
#include "kernels/linear.h"

namespace lowbank {

SvdLinear::SvdLinear(torch::Tensor u_OR, torch::Tensor s_R, torch::Tensor vh_RI,
                     torch::Tensor bias_O) {
  TORCH_CHECK(u_OR.dim() == 2 && s_R.dim() == 1 && vh_RI.dim() == 2 &&
                  u_OR.size(1) == s_R.size(0) && vh_RI.size(0) == s_R.size(0),
              "SvdLinear: u [O, R], s [R], vh [R, I] do not fit: ", u_OR.sizes(), ", ", s_R.sizes(),
              ", ", vh_RI.sizes());
  TORCH_CHECK(!bias_O.defined() || bias_O.sizes() == u_OR.sizes().slice(0, 1), "SvdLinear: bias ",
              bias_O.sizes(), " does not fit u ", u_OR.sizes());
  // Row-major, as in a file (an SVD returns column-major factors). Another layout gives other last
  // bits, and a model must give the same results before and after it is saved.
  u = register_parameter("u", u_OR.contiguous());
  s = register_parameter("s", s_R.contiguous());
  vh = register_parameter("vh", vh_RI.contiguous());
  if (bias_O.defined()) bias = register_parameter("bias", std::move(bias_O));
}

torch::Tensor SvdLinear::forward(const torch::Tensor& x_I, const Pass& /*pass*/) {
  return apply_linear(apply_linear(x_I, vh) * s, u, bias);
}

LayerRecord SvdLinear::record() const {
  return {.kind = std::string(kind()), .settings = {{"rank", rank()}}};
}

std::vector<LinearProduct> SvdLinear::products() const {
  return {{.in_features = in_features(),
           .out_features = rank(),
           .factored_as = kind(),
           .stage = 0,
           .rank = rank()},
          {.in_features = rank(),
           .out_features = out_features(),
           .factored_as = kind(),
           .stage = 1,
           .rank = rank()}};
}

std::vector<ParameterDim> SvdLinear::along(Side side) const {
  if (side == Side::kIn) return {{"vh", 1}};
  if (!bias.defined()) return {{"u", 0}};
  return {{"u", 0}, {"bias", 0}};
}

torch::Tensor SvdLinear::dense_weight() const { return at::matmul(u * s, vh); }

std::shared_ptr<Linear> build_svd_linear(const LayerPlan& plan) {
  const auto rank = plan.integer("rank", 1, std::min(plan.in_features, plan.out_features));
  auto u = plan.take("u", {plan.out_features, rank});
  auto s = plan.take("s", {rank});
  auto vh = plan.take("vh", {rank, plan.in_features});
  return std::make_shared<SvdLinear>(std::move(u), std::move(s), std::move(vh), plan.take_bias());
}

SvdLinear* find_factors(const LinearSlot& slot, std::string_view purpose) {
  if (auto* const factors = find_layer<SvdLinear>(slot)) return factors;
  const Linear& innermost = *slot.layers().back();
  if (innermost.as_dense().has_value()) return nullptr;
  throw ConfigError(fmt::format("{}: {} cannot work on a layer of kind '{}'", slot.path(), purpose,
                                innermost.kind()));
}

}  // namespace lowbank
