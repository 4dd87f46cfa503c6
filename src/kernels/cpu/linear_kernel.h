// Products of few rows with a matrix, for every instruction set (see pack.h).
#pragma once

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"

namespace lowbank::LOWBANK_ISA {
namespace {

// Loads one vector of weights. A 32-bit word holds two neighbouring bfloat16: a shift turns the
// first into a float32, and clearing the low bits the second. That is cheaper than widening them in
// order, but x must have the same order (order_x).
inline void load_weights(const float* from, Pack (&parts)[1]) { parts[0] = load(from); }
inline void load_weights(const Bfloat16* from, Pack (&parts)[2]) {
  WordPack words;
  std::memcpy(&words, from, sizeof(words));
  parts[0] = (Pack)(words << 16);
  parts[1] = (Pack)(words & 0xFFFF0000u);
}
template <class W>
constexpr int kParts = 4 / static_cast<int>(sizeof(W));

template <class W, class X>
void order_x(float* out, const void* x, std::int64_t num_x, std::int64_t num_in) {
  constexpr int kStep = kParts<W> * kLanes;
  for (std::int64_t m = 0; m < num_x; ++m) {
    const X* const from = static_cast<const X*>(x) + m * num_in;
    float* const to = out + m * num_in;
    std::int64_t i = 0;
    for (; i + kStep <= num_in; i += kStep) {
      for (int lane = 0; lane < kLanes; ++lane) {
        for (std::int64_t part = 0; part < kParts<W>; ++part) {
          to[i + part * kLanes + lane] = load_one(from + i + lane * kParts<W> + part);
        }
      }
    }
    for (; i < num_in; ++i) to[i] = load_one(from + i);
  }
}

// Each product has one accumulator, which sums in the order of the inputs. Its bits therefore do
// not depend on how many rows are computed at a time.
template <int kRows, int kX, class W, class Out>
inline void linear_block(const LinearRows& r, std::int64_t row, std::int64_t first_x) {
  constexpr int kStep = kParts<W> * kLanes;
  const W* const weight = static_cast<const W*>(r.weight) + row * r.num_in;
  const float* const x = r.x + first_x * r.num_in;
  Pack sum[kRows][kX] = {};
  std::int64_t i = 0;
  for (; i + kStep <= r.num_in; i += kStep) {
    Pack w[kRows][kParts<W>];
#pragma GCC unroll 8
    for (int o = 0; o < kRows; ++o) {
      const W* const place = weight + o * r.num_in + i;
      load_weights(place, w[o]);
      // The processor does not prefetch several short rows at a time by itself.
      if (kRows > 1) __builtin_prefetch(place + kRows * r.num_in);
    }
#pragma GCC unroll 8
    for (int m = 0; m < kX; ++m) {
#pragma GCC unroll 2
      for (std::int64_t part = 0; part < kParts<W>; ++part) {
        const Pack v = load(x + m * r.num_in + i + part * kLanes);
#pragma GCC unroll 8
        for (int o = 0; o < kRows; ++o) sum[o][m] += w[o][part] * v;
      }
    }
  }
  for (; i < r.num_in; i += kLanes) {
    const std::int64_t rest = r.num_in - i < kLanes ? r.num_in - i : kLanes;
    for (int o = 0; o < kRows; ++o) {
      const Pack w = load_part(weight + o * r.num_in + i, rest);
      for (int m = 0; m < kX; ++m) sum[o][m] += w * load_part(x + m * r.num_in + i, rest);
    }
  }
  const auto* const bias = static_cast<const W*>(r.bias);
#pragma GCC unroll 8
  for (int m = 0; m < kX; ++m) {
    Out* const out = static_cast<Out*>(r.out) + (first_x + m) * r.out_stride + row;
#pragma GCC unroll 8
    for (int o = 0; o < kRows; ++o) {
      const float y = sum_lanes(sum[o][m]);
      store_one(out + o, bias == nullptr ? y : y + load_one(bias + row + o));
    }
  }
}

// Multiplies with all rows of x, so that the weights are read from memory once and then found in
// the cache.
template <int kRows, class W, class Out>
inline void linear_all_x(const LinearRows& r, std::int64_t row) {
  std::int64_t m = 0;
  for (; m + 4 <= r.num_x; m += 4) linear_block<kRows, 4, W, Out>(r, row, m);
  switch (r.num_x - m) {
    case 3:
      return linear_block<kRows, 3, W, Out>(r, row, m);
    case 2:
      return linear_block<kRows, 2, W, Out>(r, row, m);
    case 1:
      return linear_block<kRows, 1, W, Out>(r, row, m);
    default:
      return;
  }
}

template <class W, class Out>
void linear(const LinearRows& r) {
  std::int64_t row = r.begin;
  // Memory is fastest with one stream at a time. But with many or long rows of x, loading these
  // again and again is the bottleneck; computing several rows of weights together saves loads.
  constexpr std::int64_t kMaxLoaded = 3200;  // elements: well within the nearest cache
  if (r.num_x > 1 && (r.num_x > 4 || r.num_x * r.num_in > kMaxLoaded)) {
    constexpr int kRows = kLanes == 16 ? 4 : 2;
    for (; row + kRows <= r.end; row += kRows) linear_all_x<kRows, W, Out>(r, row);
  }
  for (; row < r.end; ++row) linear_all_x<1, W, Out>(r, row);
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
