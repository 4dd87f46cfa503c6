// The loss of a row of logits, for every instruction set (see pack.h).
#pragma once

#include <type_traits>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"

namespace lowbank::LOWBANK_ISA {
namespace {

inline float largest_of(const float* x, std::int64_t size) {
  Pack best = splat(-__builtin_inff());
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) best = max_of(load(x + i), best);
  float lanes[kLanes];
  store(lanes, best);
  float largest = lanes[0];
  for (int lane = 1; lane < kLanes; ++lane) {
    largest = lanes[lane] > largest ? lanes[lane] : largest;
  }
  for (; i < size; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// Sum of e^(x - shift); if T is not const, the elements of x become the terms. Runs of 256 terms
// are summed in 16 lanes whatever the instruction set; the first lane also sums the terms after the
// last whole 16. The bits are therefore the same wherever exp gives the same bits.
template <class T>
inline double sum_exp(T* x, std::int64_t size, float shift) {
  constexpr bool kKeepsTerms = !std::is_const_v<T>;
  constexpr std::int64_t kRun = 256;
  constexpr int kSumLanes = 16;
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kRun) {
    const std::int64_t end = begin + kRun < size ? begin + kRun : size;
    Pack parts[kSumLanes / kLanes] = {};
    std::int64_t i = begin;
    for (; i + kSumLanes <= end; i += kSumLanes) {
      for (int part = 0; part < kSumLanes / kLanes; ++part) {
        T* const place = x + i + part * kLanes;
        const Pack terms = exp(load(place) - shift);
        if constexpr (kKeepsTerms) store(place, terms);
        parts[part] += terms;
      }
    }
    float lanes[kSumLanes];
    std::memcpy(lanes, parts, sizeof(lanes));
    for (; i < end; i += kLanes) {
      const int count = end - i < kLanes ? static_cast<int>(end - i) : kLanes;
      const Pack terms = exp(load<Pack>(x + i, count) - shift);
      if constexpr (kKeepsTerms) store<Pack>(x + i, terms, count);
      float single[kLanes];
      store(single, terms);
      for (int lane = 0; lane < count; ++lane) lanes[0] += single[lane];
    }
    float run = 0;
    for (const float lane : lanes) run += lane;
    sum += static_cast<double>(run);
  }
  return sum;
}

float nll(const float* logits, std::int64_t size, std::int64_t target) {
  const float shift = largest_of(logits, size);
  const double log_sum = static_cast<double>(shift) + ::log(sum_exp(logits, size, shift));
  return static_cast<float>(log_sum - static_cast<double>(logits[target]));
}

float nll_to_gradient(float* logits, std::int64_t size, std::int64_t target) {
  const auto chosen = static_cast<double>(logits[target]);
  const float shift = largest_of(logits, size);
  const double sum = sum_exp(logits, size, shift);
  const auto scale = static_cast<float>(1.0 / sum);
  for_each_vector(
      size, [&](std::int64_t i, auto get, auto put) { put(logits + i, get(logits + i) * scale); });
  logits[target] -= 1.0f;
  return static_cast<float>(static_cast<double>(shift) + ::log(sum) - chosen);
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
