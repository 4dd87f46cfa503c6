#pragma once

#include <cstdint>

#include <torch/types.h>

namespace lowbank {

/// Factors of one matrix: w = u diag(s) vh, with falling singular values.
struct SvdFactors {
  torch::Tensor u_OR, s_R, vh_RI;
};

/// The whole thin SVD of w [O, I], in double precision on the CPU whatever w's type and device.
/// The largest entry of each column of u is positive, so that a file does not depend on the driver.
/// Errors: c10::Error if w is not a matrix.
SvdFactors thin_svd(const torch::Tensor& w_OI);

/// The first `rank` triples of `full`. Errors: c10::Error if rank is not in [1, min(O, I)].
SvdFactors truncate_svd(const SvdFactors& full, std::int64_t rank);

/// ||w - u diag(s) vh|| / ||w|| (Frobenius) if `full` is cut after `rank` triples, computed from
/// the singular values alone. Source: Eckart and Young 1936.
double truncation_error(const SvdFactors& full, std::int64_t rank);

}  // namespace lowbank
