#include "noise/rank_selection.h"

#include <algorithm>
#include <cmath>
#include <span>

#include <ATen/ops/argsort.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace lowbank {

std::int64_t num_protected_ranks(double slc_frac, std::int64_t rank) {
  if (slc_frac <= 0) return 0;
  const auto rounded =
      static_cast<std::int64_t>(std::floor(slc_frac * static_cast<double>(rank) + 0.5));
  return std::clamp<std::int64_t>(rounded, 1, rank);
}

torch::Tensor order_ranks(const torch::Tensor& importance_R) {
  TORCH_CHECK(importance_R.dim() == 1, "order_ranks: importance must be [R], got ",
              importance_R.sizes());
  return at::argsort(importance_R.cpu(), /*stable=*/true, /*dim=*/0, /*descending=*/true);
}

torch::Tensor random_rank_order(std::int64_t rank, const RandomKey& key) {
  auto order_R = at::empty({rank}, at::kLong);
  fill_permutation({order_R.data_ptr<std::int64_t>(), static_cast<std::size_t>(rank)}, key);
  return order_R;
}

torch::Tensor protected_mask(const torch::Tensor& order_R, std::int64_t count) {
  auto mask_R = at::zeros(order_R.sizes(), at::kBool);
  mask_R.index_fill_(0, order_R.narrow(0, 0, count), true);
  return mask_R;
}

}  // namespace lowbank
