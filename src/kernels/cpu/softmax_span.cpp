// Includes no LibTorch and is compiled with options of its own (CMakeLists.txt): vectorised, with
// reductions in any order where a pragma allows it.
#include "kernels/cpu/softmax_span.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

// The wider clones are chosen at run time.
#if defined(__x86_64__) && defined(__GNUC__)
#define LOWBANK_SPAN_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOWBANK_SPAN_CLONES
#endif

namespace lowbank {
namespace {

constexpr std::size_t kBlock = 256;
constexpr float kLowest = -87.0f;  // e^kLowest is still a normal number; below it 0 is near enough

// e^x for x <= 0 as 2^n e^r with |r| <= ln(2) / 2; Taylor's next term is below 6e-9. NaN stays NaN.
// One branch-free expression, so that loops over it are vectorised.
inline float exp_nonpositive(float x) {
  constexpr float kToInteger =
      12582912.0f;  // 1.5 * 2^23: the sum's last bits are the nearest integer
  const float bounded = x < kLowest ? kLowest : x;
  const float shifted = bounded * 1.44269504f + kToInteger;
  const float n = shifted - kToInteger;
  // ln(2) in two parts, the first of which times n is exact.
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  const float series =
      1.0f +
      r * (1.0f + r * (0.5f + r * (1.0f / 6 +
                                   r * (1.0f / 24 +
                                        r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))))));
  const std::uint32_t bits =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kToInteger) + 127u;
  const float value = series * std::bit_cast<float>(bits << 23);
  return x < kLowest ? 0.0f : value;
}

inline float largest(const float* x, std::size_t size) {
  float result = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : result)
  for (std::size_t i = 0; i < size; ++i) result = result < x[i] ? x[i] : result;
  return result;
}

// Sum of e^(x - shift); if x may be written to, its elements become the terms.
template <class T>
inline double sum_exp(T* x, std::size_t size, float shift) {
  double sum = 0;
  for (std::size_t begin = 0; begin < size; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, size);
    float part = 0;
#pragma omp simd reduction(+ : part)
    for (std::size_t i = begin; i < end; ++i) {
      const float term = exp_nonpositive(x[i] - shift);
      if constexpr (!std::is_const_v<T>) x[i] = term;
      part += term;
    }
    sum += static_cast<double>(part);
  }
  return sum;
}

LOWBANK_SPAN_CLONES double log_sum_exp(const float* x, std::size_t size) {
  const float shift = largest(x, size);
  return static_cast<double>(shift) + std::log(sum_exp(x, size, shift));
}

LOWBANK_SPAN_CLONES double to_softmax_(float* x, std::size_t size) {
  const float shift = largest(x, size);
  const double sum = sum_exp(x, size, shift);
  const auto scale = static_cast<float>(1.0 / sum);
  for (std::size_t i = 0; i < size; ++i) x[i] *= scale;
  return static_cast<double>(shift) + std::log(sum);
}

LOWBANK_SPAN_CLONES void widen(const std::uint16_t* in, std::size_t size, float* out) {
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(in[i]) << 16);
  }
}

LOWBANK_SPAN_CLONES void narrow(const float* in, std::size_t size, std::uint16_t* out) {
  for (std::size_t i = 0; i < size; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(in[i]);
    const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    out[i] = static_cast<std::uint16_t>(in[i] != in[i] ? 0x7FC0u : rounded);
  }
}

}  // namespace

void widen_bfloat16(std::span<const std::uint16_t> in, float* out) {
  widen(in.data(), in.size(), out);
}

void narrow_to_bfloat16(std::span<const float> in, std::uint16_t* out) {
  narrow(in.data(), in.size(), out);
}

float row_nll(std::span<const float> logits, std::int64_t target) {
  const auto chosen = static_cast<double>(logits[static_cast<std::size_t>(target)]);
  return static_cast<float>(log_sum_exp(logits.data(), logits.size()) - chosen);
}

float row_nll_to_gradient_(std::span<float> logits, std::int64_t target) {
  float& element = logits[static_cast<std::size_t>(target)];
  const auto chosen = static_cast<double>(element);
  const double log_sum = to_softmax_(logits.data(), logits.size());
  element -= 1.0f;
  return static_cast<float>(log_sum - chosen);
}

}  // namespace lowbank
