#pragma once

#include <cstdint>

#include <torch/types.h>

#include "core/philox.h"

namespace lowbank {

/// Number of ranks of a layer in SLC cells: floor(slc_frac * rank + 0.5), at least 1 if slc_frac >
/// 0.
std::int64_t num_protected_ranks(double slc_frac, std::int64_t rank);

/// The ranks [R] int64, most important first; among equal ones the lower index comes first.
torch::Tensor order_ranks(const torch::Tensor& importance_R);

/// The ranks [R] int64 in an order drawn from the key.
torch::Tensor random_rank_order(std::int64_t rank, const RandomKey& key);

/// True at the first `count` ranks of the order: bool [R].
torch::Tensor protected_mask(const torch::Tensor& order_R, std::int64_t count);

}  // namespace lowbank
