#pragma once

#include <cstdint>
#include <span>

namespace lowbank {

/// -log softmax(logits)[target] of one row, on one thread: the largest logit is taken off before
/// exp (own series, below 2e-7 off), and sums of 256 terms are added in float64. NaN and +inf give
/// NaN.
float row_nll(std::span<const float> logits, std::int64_t target);

/// The same, and the row becomes its gradient, softmax(logits) - onehot(target).
float row_nll_to_gradient_(std::span<float> logits, std::int64_t target);

/// Bfloat16, given as its bits, to float32, and back to the nearest (ties to even).
void widen_bfloat16(std::span<const std::uint16_t> in, float* out);
void narrow_to_bfloat16(std::span<const float> in, std::uint16_t* out);

}  // namespace lowbank
