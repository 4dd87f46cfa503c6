#pragma once

#include <torch/types.h>

namespace lowbank {

/// Attention of one new token of each sequence over the keys seen so far: softmax(q k^T / sqrt(E))
/// v, with a float32 softmax; H / K query heads share a key head. No gradients.
///
/// Shapes:  q [B, H, E], keys and values [B, K, S, E] (views of a longer buffer will do), mask
///          [B, S] bool (false: not seen) or undefined -> [B, H, E]. A sequence that sees no key
///          gets zeros. The bits do not depend on the number of threads.
torch::Tensor decode_attention(const torch::Tensor& q_BHE, const torch::Tensor& keys_BKSE,
                               const torch::Tensor& values_BKSE, const torch::Tensor& mask_BS = {});

}  // namespace lowbank
