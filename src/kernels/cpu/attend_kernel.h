// Attention of one token, for every instruction set (see pack.h).
#pragma once

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"

namespace lowbank::LOWBANK_ISA {
namespace {

template <int kHeads, class T>
inline void attend_heads(const AttendKeys& a, std::int64_t first_head) {
  const float* const queries = a.queries + first_head * a.size;
  float scores[kHeads][AttendKeys::kMaxKeys];
  for (std::int64_t s = 0; s < a.num_keys; ++s) {
    const T* const key = static_cast<const T*>(a.keys) + s * a.key_stride;
    Pack products[kHeads] = {};
    for_each_vector(a.size, [&](std::int64_t i, auto get, auto) {
      const Pack k = get(key + i);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) products[h] += k * get(queries + h * a.size + i);
    });
    const bool is_seen = a.mask == nullptr || a.mask[s];
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      scores[h][s] = is_seen ? sum_lanes(products[h]) : -__builtin_inff();
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    float highest = -__builtin_inff();
    for (std::int64_t s = 0; s < a.num_keys; ++s) {
      highest = scores[h][s] > highest ? scores[h][s] : highest;
    }
    a.highest[first_head + h] = highest;
    // If no key is seen, all weights are 0, whatever is subtracted.
    const float taken_off = highest == -__builtin_inff() ? 0.0f : highest;
    Pack total{};
    std::int64_t s = 0;
    for (; s + kLanes <= a.num_keys; s += kLanes) {
      const Pack weight = exp(load(scores[h] + s) - taken_off);
      store(scores[h] + s, weight);
      total += weight;
    }
    if (const std::int64_t rest = a.num_keys - s; rest > 0) {
      Pack last = Pack{} - __builtin_inff();
      std::memcpy(&last, scores[h] + s, static_cast<std::size_t>(rest) * sizeof(float));
      const Pack weight = exp(last - taken_off);
      store_part(scores[h] + s, weight, rest);
      total += weight;
    }
    a.total[first_head + h] = sum_lanes(total);
  }
  float* const weighted = a.weighted + first_head * a.size;
  constexpr std::int64_t kVectors =
      kLanes == 16 ? 4 : 2;  // at a time, so that the sums stay in registers
  std::int64_t begin = 0;
  for (; begin + kVectors * kLanes <= a.size; begin += kVectors * kLanes) {
    Pack sums[kHeads][kVectors] = {};
    for (std::int64_t s = 0; s < a.num_keys; ++s) {
      const T* const value = static_cast<const T*>(a.values) + s * a.value_stride + begin;
#pragma GCC unroll 4
      for (std::int64_t v = 0; v < kVectors; ++v) {
        const Pack lanes = load(value + v * kLanes);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) sums[h][v] += scores[h][s] * lanes;
      }
    }
    for (int h = 0; h < kHeads; ++h) {
      for (std::int64_t v = 0; v < kVectors; ++v) {
        store(weighted + h * a.size + begin + v * kLanes, sums[h][v]);
      }
    }
  }
  for_each_vector(a.size - begin, [&](std::int64_t i, auto get, auto put) {
    Pack sums[kHeads] = {};
    for (std::int64_t s = 0; s < a.num_keys; ++s) {
      const Pack lanes = get(static_cast<const T*>(a.values) + s * a.value_stride + begin + i);
      for (int h = 0; h < kHeads; ++h) sums[h] += scores[h][s] * lanes;
    }
    for (int h = 0; h < kHeads; ++h) put(weighted + h * a.size + begin + i, sums[h]);
  });
}

template <class T>
void attend(const AttendKeys& a) {
  std::int64_t head = 0;
  for (; head + 4 <= a.num_heads; head += 4) attend_heads<4, T>(a, head);
  switch (a.num_heads - head) {
    case 3:
      return attend_heads<3, T>(a, head);
    case 2:
      return attend_heads<2, T>(a, head);
    case 1:
      return attend_heads<1, T>(a, head);
    default:
      return;
  }
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
