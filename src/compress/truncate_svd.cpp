#include "compress/truncate_svd.h"

#include <cmath>

#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

namespace lowbank {

SvdFactors thin_svd(const torch::Tensor& w_OI) {
  TORCH_CHECK(w_OI.dim() == 2, "thin_svd: wants a matrix, got ", w_OI.sizes());
  const auto wide_OI = w_OI.detach().to(c10::kCPU, c10::kDouble);
  auto [u_OR, s_R, vh_RI] = at::linalg_svd(wide_OI, /*full_matrices=*/false);
  const auto largest_1R = u_OR.abs().argmax(/*dim=*/0, /*keepdim=*/true);
  const auto sign_R = at::where(u_OR.gather(0, largest_1R).squeeze(0) < 0, -1.0, 1.0);
  return {u_OR * sign_R, s_R, vh_RI * sign_R.unsqueeze(1)};
}

SvdFactors truncate_svd(const SvdFactors& full, std::int64_t rank) {
  TORCH_CHECK(rank >= 1 && rank <= full.s_R.size(0), "truncate_svd: rank must be in [1, ",
              full.s_R.size(0), "], got ", rank);
  return {full.u_OR.narrow(1, 0, rank).contiguous(), full.s_R.narrow(0, 0, rank).contiguous(),
          full.vh_RI.narrow(0, 0, rank).contiguous()};
}

double truncation_error(const SvdFactors& full, std::int64_t rank) {
  const auto energy_R = full.s_R.square();
  const double total = energy_R.sum().item<double>();
  if (total == 0) return 0;
  return std::sqrt(energy_R.narrow(0, rank, energy_R.size(0) - rank).sum().item<double>() / total);
}

}  // namespace lowbank
