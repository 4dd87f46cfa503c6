// The inner loops, included by one source for each vector extension (vector_avx2.cpp, ...) that
// compiles them with its own flags. All of it has internal linkage and no function of a header is
// called: the linker must never pick a function compiled for another processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/vector_kernels.h"

namespace lowbank {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

using Floats = float __attribute__((vector_size(kWidth * 4)));
using Words = std::uint32_t __attribute__((vector_size(kWidth * 4)));
using Halves = std::uint16_t __attribute__((vector_size(kWidth * 2)));
struct Bfloat16 {
  std::uint16_t bits;
};

inline Floats load(const float* from) {
  Floats v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

inline Floats widen_halves(Halves halves) {
  const Words words = __builtin_convertvector(halves, Words) << 16;
  Floats v;
  __builtin_memcpy(&v, &words, sizeof(v));
  return v;
}

inline Floats load(const Bfloat16* from) {
  Halves halves;
  __builtin_memcpy(&halves, from, sizeof(halves));
  return widen_halves(halves);
}

// The first `size` < kWidth lanes; the others are 0.
inline Floats load_part(const float* from, std::int64_t size) {
  Floats v{};
  __builtin_memcpy(&v, from, static_cast<std::size_t>(size) * sizeof(float));
  return v;
}

inline Floats load_part(const Bfloat16* from, std::int64_t size) {
  Halves halves{};
  __builtin_memcpy(&halves, from, static_cast<std::size_t>(size) * sizeof(Bfloat16));
  return widen_halves(halves);
}

inline float load_one(const float* from) { return *from; }
inline float load_one(const Bfloat16* from) {
  const std::uint32_t word = std::uint32_t{from->bits} << 16;
  float value;
  __builtin_memcpy(&value, &word, sizeof(value));
  return value;
}

// To the nearest, ties to even; NaN stays NaN.
inline Halves narrow(Floats v) {
  Words words;
  __builtin_memcpy(&words, &v, sizeof(words));
  const Words rounded = (words + 0x7FFFu + ((words >> 16) & 1u)) >> 16;
  const Words kept = v == v ? rounded : (rounded & 0u) + 0x7FC0u;
  return __builtin_convertvector(kept, Halves);
}

inline void store(float* to, Floats v) { __builtin_memcpy(to, &v, sizeof(v)); }
inline void store(Bfloat16* to, Floats v) {
  const Halves halves = narrow(v);
  __builtin_memcpy(to, &halves, sizeof(halves));
}
inline void store_part(float* to, Floats v, std::int64_t size) {
  __builtin_memcpy(to, &v, static_cast<std::size_t>(size) * sizeof(float));
}
inline void store_part(Bfloat16* to, Floats v, std::int64_t size) {
  const Halves halves = narrow(v);
  __builtin_memcpy(to, &halves, static_cast<std::size_t>(size) * sizeof(Bfloat16));
}
template <class T>
inline void store_one(T* to, float value) {
  store_part(to, Floats{} + value, 1);
}
inline void store_one(float* to, float value) { *to = value; }

inline float sum_lanes(Floats v) {
#if defined(__AVX512F__)
  const auto v8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  const auto v8 = v;
#endif
#if defined(__AVX2__)
  const auto v4 =
      __builtin_shufflevector(v8, v8, 0, 1, 2, 3) + __builtin_shufflevector(v8, v8, 4, 5, 6, 7);
#else
  const auto v4 = v;
#endif
  const auto v2 = v4 + __builtin_shufflevector(v4, v4, 2, 3, 2, 3);
  return v2[0] + v2[1];
}

void widen(float* out, const void* x, std::int64_t size) {
  const auto* const from = static_cast<const Bfloat16*>(x);
  std::int64_t i = 0;
  for (; i + kWidth <= size; i += kWidth) store(out + i, load(from + i));
  if (i < size) store_part(out + i, load_part(from + i, size - i), size - i);
}

// ---- Linear ----------------------------------------------------------------------------------

// Each product has one accumulator, filled in the order of the inputs: its bits do not depend on
// how many rows are taken at a time.
template <int kRows, int kX, class W, class Out>
inline void linear_block(const LinearRows& r, std::int64_t row, std::int64_t first_x) {
  const W* const weight = static_cast<const W*>(r.weight) + row * r.num_in;
  const float* const x = r.x + first_x * r.num_in;
  Floats sum[kRows][kX] = {};
  std::int64_t i = 0;
  for (; i + kWidth <= r.num_in; i += kWidth) {
    Floats w[kRows];
#pragma GCC unroll 8
    for (int o = 0; o < kRows; ++o) w[o] = load(weight + o * r.num_in + i);
#pragma GCC unroll 8
    for (int m = 0; m < kX; ++m) {
      const Floats v = load(x + m * r.num_in + i);
#pragma GCC unroll 8
      for (int o = 0; o < kRows; ++o) sum[o][m] += w[o] * v;
    }
  }
  if (const std::int64_t rest = r.num_in - i; rest > 0) {
    for (int o = 0; o < kRows; ++o) {
      const Floats w = load_part(weight + o * r.num_in + i, rest);
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

// All rows of x, so that the weights come from memory once; later visits find them in the cache.
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
  // One stream at a time is what memory gives fastest; several rows of x are bound by arithmetic,
  // for which rows of weights taken together save loads of x.
  if (r.num_x > 1) {
    constexpr int kRows = kWidth == 16 ? 4 : 2;
    for (; row + kRows <= r.end; row += kRows) linear_all_x<kRows, W, Out>(r, row);
  }
  for (; row < r.end; ++row) linear_all_x<1, W, Out>(r, row);
}

constexpr VectorKernels make_vector_kernels(const char* name) {
  return {.name = name,
          .widen = widen,
          .linear = {{linear<float, float>, linear<float, Bfloat16>},
                     {linear<Bfloat16, float>, linear<Bfloat16, Bfloat16>}}};
}

}  // namespace
}  // namespace lowbank
