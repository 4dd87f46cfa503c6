// The inner loops, included by one source for each vector extension (vector_avx2.cpp, ...) that
// compiles them with its own flags. All of it has internal linkage and no function of a header is
// called: the linker must never pick a function compiled for another processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/vector_kernels.h"

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

inline Floats as_floats(Words words) {
  Floats v;
  __builtin_memcpy(&v, &words, sizeof(v));
  return v;
}

inline Floats widen_halves(Halves halves) {
  return as_floats(__builtin_convertvector(halves, Words) << 16);
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

// To a bfloat16 in the high half of each lane: the nearest, ties to even; NaN stays NaN.
inline Words round_lanes(Floats v) {
  Words words;
  __builtin_memcpy(&words, &v, sizeof(words));
  const Words rounded = words + 0x7FFFu + ((words >> 16) & 1u);
  return v == v ? rounded & 0xFFFF0000u : (words & 0u) + 0x7FC00000u;
}

inline Halves narrow_lanes(Floats v) {
  return __builtin_convertvector(round_lanes(v) >> 16, Halves);
}

inline Floats rounded_to(const float*, Floats v) { return v; }
inline Floats rounded_to(const Bfloat16*, Floats v) { return as_floats(round_lanes(v)); }

inline void store(float* to, Floats v) { __builtin_memcpy(to, &v, sizeof(v)); }
inline void store(Bfloat16* to, Floats v) {
  const Halves halves = narrow_lanes(v);
  __builtin_memcpy(to, &halves, sizeof(halves));
}
inline void store_part(float* to, Floats v, std::int64_t size) {
  __builtin_memcpy(to, &v, static_cast<std::size_t>(size) * sizeof(float));
}
inline void store_part(Bfloat16* to, Floats v, std::int64_t size) {
  const Halves halves = narrow_lanes(v);
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

inline float largest_lane(Floats v) {
  float largest = v[0];
  for (int i = 1; i < kWidth; ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
}

// Calls body(i, load, store) for each full vector of a row and once for what is left of it, with
// functions that touch only the elements there are (lanes beyond are 0).
template <class Body>
inline __attribute__((always_inline)) void for_each_vector(std::int64_t size, Body body) {
  std::int64_t i = 0;
  for (; i + kWidth <= size; i += kWidth) {
    body(
        i, [](auto* from) { return load(from); }, [](auto* to, Floats v) { store(to, v); });
  }
  if (const std::int64_t rest = size - i; rest > 0) {
    body(
        i, [rest](auto* from) { return load_part(from, rest); },
        [rest](auto* to, Floats v) { store_part(to, v, rest); });
  }
}

// e^x = 2^n e^r with n the nearest integer to x / ln 2. |r| <= ln(2) / 2, where Taylor's series to
// r^7 leaves 5e-9.
inline Floats exp(Floats x) {
  constexpr float kLowest = -87.3f, kHighest = 88.3f;
  constexpr float kRounder = 12582912.0f;              // 1.5 2^23: adding it rounds
  constexpr float kLn2High = 0.693359375f;             // few bits: n kLn2High is exact
  constexpr float kLn2Low = -2.12194440054690583e-4f;  // ln 2 - kLn2High
  const Floats bounded = x > kHighest ? Floats{} + kHighest : x;
  const Floats shifted = bounded * 1.44269504088896341f + kRounder;
  const Floats n = shifted - kRounder;
  const Floats r = (bounded - n * kLn2High) - n * kLn2Low;
  Floats series = r * (1.0f / 5040) + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  Words exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof(exponent));
  // The low bits of `shifted` are n.
  return x < kLowest ? Floats{} : series * as_floats((exponent + 127u) << 23);
}

void exp_all(float* out, const float* x, std::int64_t size) {
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(out + i, exp(get(x + i))); });
}

void add_scaled(float* sum, const float* x, float factor, std::int64_t size) {
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) {
    put(sum + i, get(sum + i) + factor * get(x + i));
  });
}

template <class T>
void widen(float* out, const void* x, std::int64_t size) {
  const T* const from = static_cast<const T*>(x);
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(out + i, get(from + i)); });
}

template <class T>
void narrow(void* out, const float* x, std::int64_t size) {
  T* const to = static_cast<T*>(out);
  for_each_vector(size, [&](std::int64_t i, auto get, auto put) { put(to + i, get(x + i)); });
}

// ---- Linear ----------------------------------------------------------------------------------

// What one load of weights gives. Of two neighbouring bfloat16 in a 32-bit word the first is a
// shift away from a float32 and the second is one but for its low bits: cheaper than spreading them
// out, if x is in the same order (order_x).
inline void load_weights(const float* from, Floats (&parts)[1]) { parts[0] = load(from); }
inline void load_weights(const Bfloat16* from, Floats (&parts)[2]) {
  Words words;
  __builtin_memcpy(&words, from, sizeof(words));
  parts[0] = as_floats(words << 16);
  parts[1] = as_floats(words & 0xFFFF0000u);
}
template <class W>
constexpr int kParts = 4 / static_cast<int>(sizeof(W));

template <class W, class X>
void order_x(float* out, const void* x, std::int64_t num_x, std::int64_t num_in) {
  constexpr int kStep = kParts<W> * kWidth;
  for (std::int64_t m = 0; m < num_x; ++m) {
    const X* const from = static_cast<const X*>(x) + m * num_in;
    float* const to = out + m * num_in;
    std::int64_t i = 0;
    for (; i + kStep <= num_in; i += kStep) {
      for (int lane = 0; lane < kWidth; ++lane) {
        for (int part = 0; part < kParts<W>; ++part) {
          to[i + part * kWidth + lane] = load_one(from + i + lane * kParts<W> + part);
        }
      }
    }
    for (; i < num_in; ++i) to[i] = load_one(from + i);
  }
}

// Each product has one accumulator, filled in the order of the inputs: its bits do not depend on
// how many rows are taken at a time.
template <int kRows, int kX, class W, class Out>
inline void linear_block(const LinearRows& r, std::int64_t row, std::int64_t first_x) {
  constexpr int kStep = kParts<W> * kWidth;
  const W* const weight = static_cast<const W*>(r.weight) + row * r.num_in;
  const float* const x = r.x + first_x * r.num_in;
  Floats sum[kRows][kX] = {};
  std::int64_t i = 0;
  for (; i + kStep <= r.num_in; i += kStep) {
    Floats w[kRows][kParts<W>];
#pragma GCC unroll 8
    for (int o = 0; o < kRows; ++o) {
      const W* const place = weight + o * r.num_in + i;
      load_weights(place, w[o]);
      // Several short rows at a time escape the processor's own prefetching.
      if (kRows > 1) __builtin_prefetch(place + kRows * r.num_in);
    }
#pragma GCC unroll 8
    for (int m = 0; m < kX; ++m) {
#pragma GCC unroll 2
      for (int part = 0; part < kParts<W>; ++part) {
        const Floats v = load(x + m * r.num_in + i + part * kWidth);
#pragma GCC unroll 8
        for (int o = 0; o < kRows; ++o) sum[o][m] += w[o][part] * v;
      }
    }
  }
  for (; i < r.num_in; i += kWidth) {
    const std::int64_t rest = r.num_in - i < kWidth ? r.num_in - i : kWidth;
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
  // One stream at a time is what memory gives fastest. Many or long rows of x are bound by loading
  // them again and again, which rows of weights taken together save.
  constexpr std::int64_t kMaxLoaded = 3200;  // elements: well within the nearest cache
  if (r.num_x > 1 && (r.num_x > 4 || r.num_x * r.num_in > kMaxLoaded)) {
    constexpr int kRows = kWidth == 16 ? 4 : 2;
    for (; row + kRows <= r.end; row += kRows) linear_all_x<kRows, W, Out>(r, row);
  }
  for (; row < r.end; ++row) linear_all_x<1, W, Out>(r, row);
}

// ---- RMS norm --------------------------------------------------------------------------------

template <class T>
void rms_norm(const RmsNormRows& r) {
  const T* const weight = static_cast<const T*>(r.weight);
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* x = static_cast<const T*>(r.x) + row * r.size;
    Floats squares[2] = {};
    if (r.residual != nullptr) {
      const T* const residual = static_cast<const T*>(r.residual) + row * r.size;
      T* const sum = static_cast<T*>(r.sum) + row * r.size;
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        const Floats v = rounded_to(x, get(x + i) + get(residual + i));
        put(sum + i, v);
        squares[0] += v * v;
      });
      x = sum;
    } else {
      std::int64_t i = 0;
      for (; i + 2 * kWidth <= r.size; i += 2 * kWidth) {
        const Floats v0 = load(x + i), v1 = load(x + i + kWidth);
        squares[0] += v0 * v0;
        squares[1] += v1 * v1;
      }
      for_each_vector(r.size - i, [&](std::int64_t rest, auto get, auto) {
        const Floats v = get(x + i + rest);
        squares[0] += v * v;
      });
    }
    const float mean = sum_lanes(squares[0] + squares[1]) / static_cast<float>(r.size);
    const float scale = 1.0f / __builtin_sqrtf(mean + r.eps);
    if (r.scale != nullptr) r.scale[row] = scale;
    T* const out = static_cast<T*>(r.out) + row * r.size;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      put(out + i, rounded_to(x, get(x + i) * scale) * get(weight + i));
    });
  }
}

template <class T>
void rms_norm_grad(const RmsNormGradRows& r) {
  const T* const weight = static_cast<const T*>(r.weight);
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const grad = static_cast<const T*>(r.grad) + row * r.size;
    const T* const x = static_cast<const T*>(r.x) + row * r.size;
    T* const grad_x = static_cast<T*>(r.grad_x) + row * r.size;
    const float scale = r.scale[row];
    Floats products{};
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Floats g = get(grad + i), v = get(x + i);
      products += g * get(weight + i) * v;
      if (r.grad_weight != nullptr) {
        put(r.grad_weight + i, get(r.grad_weight + i) + g * (v * scale));
      }
    });
    const float pull = sum_lanes(products) * scale * scale * scale / static_cast<float>(r.size);
    if (r.grad_sum != nullptr) {
      const T* const grad_sum = static_cast<const T*>(r.grad_sum) + row * r.size;
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        put(grad_x + i,
            get(grad_sum + i) + (get(grad + i) * get(weight + i) * scale - get(x + i) * pull));
      });
    } else {
      for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
        put(grad_x + i, get(grad + i) * get(weight + i) * scale - get(x + i) * pull);
      });
    }
  }
}

// ---- SwiGLU ----------------------------------------------------------------------------------

template <class T>
void swiglu(const SwigluRows& r) {
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const gate = static_cast<const T*>(r.gate) + row * r.gate_stride;
    const T* const up = static_cast<const T*>(r.up) + row * r.up_stride;
    T* const out = static_cast<T*>(r.out) + row * r.size;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Floats g = get(gate + i);
      put(out + i, g * get(up + i) / (1.0f + exp(-g)));
    });
  }
}

template <class T>
void swiglu_grad(const SwigluRows& r) {
  for (std::int64_t row = r.begin; row < r.end; ++row) {
    const T* const gate = static_cast<const T*>(r.gate) + row * r.gate_stride;
    const T* const up = static_cast<const T*>(r.up) + row * r.up_stride;
    const T* const grad = static_cast<const T*>(r.grad) + row * r.size;
    T* const grad_gate = static_cast<T*>(r.grad_gate) + row * r.grad_stride;
    T* const grad_up = static_cast<T*>(r.grad_up) + row * r.grad_stride;
    for_each_vector(r.size, [&](std::int64_t i, auto get, auto put) {
      const Floats g = get(gate + i), d = get(grad + i);
      const Floats sigmoid = 1.0f / (1.0f + exp(-g));
      const Floats silu = g * sigmoid;
      put(grad_gate + i, d * get(up + i) * (sigmoid + silu * (1.0f - sigmoid)));
      put(grad_up + i, d * silu);
    });
  }
}

// ---- Rotary embedding ------------------------------------------------------------------------

template <class T>
void rotary(const RotaryHeads& r) {
  const std::int64_t half = r.size / 2;
  const T* const cosines = static_cast<const T*>(r.cosines);
  const T* const sines = static_cast<const T*>(r.sines);
  // The inverse of a turn is its transpose: each half then takes the sines of the other.
  const T* const first_sines = r.is_backward ? sines + half : sines;
  const T* const second_sines = r.is_backward ? sines : sines + half;
  for (std::int64_t head = 0; head < r.num_heads; ++head) {
    const T* const x = static_cast<const T*>(r.x) + head * r.x_stride;
    T* const out = static_cast<T*>(r.out) + head * r.out_stride;
    for_each_vector(half, [&](std::int64_t i, auto get, auto put) {
      const Floats first = get(x + i), second = get(x + half + i);
      put(out + i, first * get(cosines + i) + second * get(first_sines + i));
      put(out + half + i, second * get(cosines + half + i) + first * get(second_sines + i));
    });
  }
}

// ---- Attention of one token ------------------------------------------------------------------

template <int kHeads, class T>
inline void attend_heads(const AttendKeys& a, std::int64_t first_head) {
  const float* const queries = a.queries + first_head * a.size;
  float scores[kHeads][AttendKeys::kMaxKeys];
  for (std::int64_t s = 0; s < a.num_keys; ++s) {
    const T* const key = static_cast<const T*>(a.keys) + s * a.key_stride;
    Floats products[kHeads] = {};
    for_each_vector(a.size, [&](std::int64_t i, auto get, auto) {
      const Floats k = get(key + i);
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
    // Without a key seen all weights come out as 0, whatever is taken off.
    const float taken_off = highest == -__builtin_inff() ? 0.0f : highest;
    Floats total{};
    std::int64_t s = 0;
    for (; s + kWidth <= a.num_keys; s += kWidth) {
      const Floats weight = exp(load(scores[h] + s) - taken_off);
      store(scores[h] + s, weight);
      total += weight;
    }
    if (const std::int64_t rest = a.num_keys - s; rest > 0) {
      Floats last = Floats{} - __builtin_inff();
      __builtin_memcpy(&last, scores[h] + s, static_cast<std::size_t>(rest) * sizeof(float));
      const Floats weight = exp(last - taken_off);
      store_part(scores[h] + s, weight, rest);
      total += weight;
    }
    a.total[first_head + h] = sum_lanes(total);
  }
  float* const weighted = a.weighted + first_head * a.size;
  constexpr int kVectors = kWidth == 16 ? 4 : 2;  // at a time, so that the sums stay in registers
  std::int64_t begin = 0;
  for (; begin + kVectors * kWidth <= a.size; begin += kVectors * kWidth) {
    Floats sums[kHeads][kVectors] = {};
    for (std::int64_t s = 0; s < a.num_keys; ++s) {
      const T* const value = static_cast<const T*>(a.values) + s * a.value_stride + begin;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Floats lanes = load(value + v * kWidth);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) sums[h][v] += scores[h][s] * lanes;
      }
    }
    for (int h = 0; h < kHeads; ++h) {
      for (int v = 0; v < kVectors; ++v) {
        store(weighted + h * a.size + begin + v * kWidth, sums[h][v]);
      }
    }
  }
  for_each_vector(a.size - begin, [&](std::int64_t i, auto get, auto put) {
    Floats sums[kHeads] = {};
    for (std::int64_t s = 0; s < a.num_keys; ++s) {
      const Floats lanes = get(static_cast<const T*>(a.values) + s * a.value_stride + begin + i);
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

constexpr VectorKernels make_vector_kernels(const char* name) {
  return {.name = name,
          .widen = {widen<float>, widen<Bfloat16>},
          .narrow = {narrow<float>, narrow<Bfloat16>},
          .exp = exp_all,
          .add_scaled = add_scaled,
          .order_x = {{nullptr, order_x<float, Bfloat16>},
                      {order_x<Bfloat16, float>, order_x<Bfloat16, Bfloat16>}},
          .linear = {{linear<float, float>, linear<float, Bfloat16>},
                     {linear<Bfloat16, float>, linear<Bfloat16, Bfloat16>}},
          .rms_norm = {rms_norm<float>, rms_norm<Bfloat16>},
          .rms_norm_grad = {rms_norm_grad<float>, rms_norm_grad<Bfloat16>},
          .swiglu = {swiglu<float>, swiglu<Bfloat16>},
          .swiglu_grad = {swiglu_grad<float>, swiglu_grad<Bfloat16>},
          .rotary = {rotary<float>, rotary<Bfloat16>},
          .attend = {attend<float>, attend<Bfloat16>}};
}

}  // namespace
}  // namespace lowbank
