// Uses a room with LibTorch: a full-rank factored layer gives what the dense layer gives.
#include <cstdio>
#include <tuple>

#include <ATen/ops/allclose.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/randn.h>

#include "nn/dense_linear.h"
#include "nn/svd_linear.h"

int main() {
  const auto weight_OI = at::randn({5, 7});
  const auto x_BI = at::randn({3, 7});
  const auto [u_OR, s_R, vh_RI] = at::linalg_svd(weight_OI, /*full_matrices=*/false);
  lowbank::DenseLinear dense(weight_OI, {});
  lowbank::SvdLinear svd(u_OR, s_R, vh_RI, {});
  const bool ok = at::allclose(dense.forward(x_BI, {}), svd.forward(x_BI, {}), /*rtol=*/1e-4,
                               /*atol=*/1e-5);  // float32, two products of size 7
  std::printf("installed nn: %s\n", ok ? "ok" : "wrong");
  return ok ? 0 : 1;
}
