#include "nn/svd_linear.h"

#include <utility>

#include <ATen/ops/matmul.h>
#include <c10/util/Exception.h>

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
  // Row-major as in a file (an SVD gives columns): another layout gives other last bits, and a
  // saved model must not.
  u = register_parameter("u", u_OR.contiguous());
  s = register_parameter("s", s_R.contiguous());
  vh = register_parameter("vh", vh_RI.contiguous());
  if (bias_O.defined()) bias = register_parameter("bias", std::move(bias_O));
}

torch::Tensor SvdLinear::forward(const torch::Tensor& x_I) {
  const auto h_R = apply_linear(x_I, vh);
  const auto scaled_R = h_R * s;
  if (on_scaled) on_scaled(h_R, scaled_R);
  return apply_linear(scaled_R, u, bias);
}

std::vector<LinearStage> SvdLinear::stages() const {
  return {{.in_features = in_features(), .out_features = rank()},
          {.in_features = rank(), .out_features = out_features()}};
}

torch::Tensor SvdLinear::dense_weight() const { return at::matmul(u * s, vh); }

}  // namespace lowbank
