// Vector arithmetic of one instruction set, read by the files of this folder only. CMakeLists.txt
// compiles their sources once for each set, with its flags and its name in LOWBANK_ISA, which is
// also a namespace. Everything here has internal linkage, and no function is called that a C++
// header defines: the linker might keep the copy that was compiled for the widest processor, for
// all users.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lowbank::LOWBANK_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

/// The compiler's vector types: + - * / work on them, also with a scalar.
using Pack = float __attribute__((vector_size(4 * kLanes)));
using IntPack = std::int32_t __attribute__((vector_size(4 * kLanes)));
using WordPack = std::uint32_t __attribute__((vector_size(4 * kLanes)));
using HalfPack = std::uint16_t __attribute__((vector_size(2 * kLanes)));

struct Bfloat16 {
  std::uint16_t bits;
};

// The type on which a loop over channels computes: several floats side by side, or one double.
template <class V>
struct PackTraits;
template <>
struct PackTraits<Pack> {
  using Scalar = float;
  static constexpr int kLanes = LOWBANK_ISA::kLanes;
};
template <>
struct PackTraits<double> {
  using Scalar = double;
  static constexpr int kLanes = 1;
};
template <class V>
using ScalarOf = typename PackTraits<V>::Scalar;

inline Pack splat(float x) { return Pack{} + x; }

// ---- Bfloat16 --------------------------------------------------------------------------------

inline Pack widen_halves(HalfPack halves) {
  return (Pack)(__builtin_convertvector(halves, WordPack) << 16);
}

// Rounds each lane to a bfloat16 in its high half: to nearest, ties to even; NaN stays NaN.
inline WordPack round_lanes(Pack v) {
  const auto words = (WordPack)v;
  const WordPack rounded = words + 0x7FFFu + ((words >> 16) & 1u);
  return v == v ? rounded & 0xFFFF0000u : (words & 0u) + 0x7FC00000u;
}

inline HalfPack narrow_lanes(Pack v) {
  return __builtin_convertvector(round_lanes(v) >> 16, HalfPack);
}

/// v as it would be after a store and a load of the pointer's type.
inline Pack rounded_to(const float*, Pack v) { return v; }
inline Pack rounded_to(const Bfloat16*, Pack v) { return (Pack)round_lanes(v); }

// ---- Memory ----------------------------------------------------------------------------------

inline Pack load(const float* from) {
  Pack v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
inline Pack load(const Bfloat16* from) {
  HalfPack halves;
  std::memcpy(&halves, from, sizeof(halves));
  return widen_halves(halves);
}

// The first `size` < kLanes lanes from memory; 0 in the others.
inline Pack load_part(const float* from, std::int64_t size) {
  Pack v{};
  std::memcpy(&v, from, static_cast<std::size_t>(size) * sizeof(float));
  return v;
}
inline Pack load_part(const Bfloat16* from, std::int64_t size) {
  HalfPack halves{};
  std::memcpy(&halves, from, static_cast<std::size_t>(size) * sizeof(Bfloat16));
  return widen_halves(halves);
}

inline float load_one(const float* from) { return *from; }
inline float load_one(const Bfloat16* from) {
  const std::uint32_t word = std::uint32_t{from->bits} << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

inline void store(float* to, Pack v) { std::memcpy(to, &v, sizeof(v)); }
inline void store(Bfloat16* to, Pack v) {
  const HalfPack halves = narrow_lanes(v);
  std::memcpy(to, &halves, sizeof(halves));
}
inline void store_part(float* to, Pack v, std::int64_t size) {
  std::memcpy(to, &v, static_cast<std::size_t>(size) * sizeof(float));
}
inline void store_part(Bfloat16* to, Pack v, std::int64_t size) {
  const HalfPack halves = narrow_lanes(v);
  std::memcpy(to, &halves, static_cast<std::size_t>(size) * sizeof(Bfloat16));
}
inline void store_one(float* to, float value) { *to = value; }
inline void store_one(Bfloat16* to, float value) { store_part(to, splat(value), 1); }

/// The first `count` lanes, which may be all, of a Pack or a double.
template <class V>
inline V load(const ScalarOf<V>* from, int count) {
  V out = {};
  if (count == PackTraits<V>::kLanes) {
    std::memcpy(&out, from, sizeof(V));
  } else {
    std::memcpy(&out, from, static_cast<std::size_t>(count) * sizeof(*from));
  }
  return out;
}
template <class V>
inline void store(ScalarOf<V>* to, V v, int count) {
  if (count == PackTraits<V>::kLanes) {
    std::memcpy(to, &v, sizeof(V));
  } else {
    std::memcpy(to, &v, static_cast<std::size_t>(count) * sizeof(*to));
  }
}

// Calls body(i, load, store) for each full vector of a row, and once for the rest of the row with
// functions that access only existing elements (the other lanes are 0).
template <class Body>
inline __attribute__((always_inline)) void for_each_vector(std::int64_t size, Body body) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    body(
        i, [](auto* from) { return load(from); }, [](auto* to, Pack v) { store(to, v); });
  }
  if (const std::int64_t rest = size - i; rest > 0) {
    body(
        i, [rest](auto* from) { return load_part(from, rest); },
        [rest](auto* to, Pack v) { store_part(to, v, rest); });
  }
}

// ---- Over the lanes --------------------------------------------------------------------------

/// Sum over the lanes, halves onto halves: the order is fixed.
inline float sum_lanes(Pack v) {
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
inline double sum_lanes(double v) { return v; }

// The larger or smaller of two; the second if one of them is NaN.
#if defined(__AVX512F__)
inline Pack max_of(Pack a, Pack b) { return (Pack)_mm512_max_ps((__m512)a, (__m512)b); }
inline Pack min_of(Pack a, Pack b) { return (Pack)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
inline Pack max_of(Pack a, Pack b) { return (Pack)_mm256_max_ps((__m256)a, (__m256)b); }
inline Pack min_of(Pack a, Pack b) { return (Pack)_mm256_min_ps((__m256)a, (__m256)b); }
#else
inline Pack max_of(Pack a, Pack b) { return a > b ? a : b; }
inline Pack min_of(Pack a, Pack b) { return a < b ? a : b; }
#endif

inline Pack abs_of(Pack x) { return (Pack)((IntPack)x & 0x7FFFFFFF); }

// ---- Exponentials ----------------------------------------------------------------------------

// Adding it leaves the nearest integer in the low bits of the sum.
constexpr float kRounder = 12582912.0f;  // 1.5 2^23

/// e^x, the only exponential of these loops: 2^n e^r with n the nearest integer to x / ln 2.
/// |r| <= ln(2) / 2, where Taylor's series to r^7 leaves 5e-9. Relative error at most 1e-7 with
/// fused multiply-adds and 1.5e-7 without; 0 below -87.3, e^88.3 above 88.3; NaN stays NaN.
inline Pack exp(Pack x) {
  constexpr float kLowest = -87.3f, kHighest = 88.3f;
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;             // few bits: n kLn2High is exact
  constexpr float kLn2Low = -2.12194440054690583e-4f;  // ln 2 - kLn2High
  const Pack bounded = min_of(splat(kHighest), x);
  const Pack shifted = bounded * kLog2E + kRounder;
  const Pack n = shifted - kRounder;
  const Pack r = (bounded - n * kLn2High) - n * kLn2Low;
  Pack series = r * (1.0f / 5040) + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  // The low bits of `shifted` are n.
  return x < kLowest ? Pack{} : series * (Pack)(((WordPack)shifted + 127u) << 23);
}

/// 1 / (1 + e^-x). Relative error below 4e-7.
inline Pack sigmoid(Pack x) { return 1.0f / (exp(-x) + 1.0f); }

/// log(1 + e^x) and its derivative.
template <class V>
struct Softplus {
  V value;
  V slope;
};

// e = exp(-|x|) keeps its relative precision however small the result is:
// log1p(e) = 2 artanh(s), s = e / (2 + e) in (0, 1/3]; the minimax polynomial in s^2 is off by
// 5e-9. Relative error below 5e-7. Above 20 the logarithm is less than half a unit in the last
// place of x, so that torch's threshold needs no case.
inline Softplus<Pack> softplus(Pack x) {
  const Pack e = exp(-abs_of(x));
  const Pack s = e / (e + 2.0f);
  const Pack s2 = s * s;
  Pack p = s2 * 0.14012045f + 0.13999613f;
  p = p * s2 + 0.20010847f;
  p = p * s2 + 0.33333207f;
  const Pack half = s + s * s2 * p;
  const Pack value = max_of(splat(0.0f), x) + (half + half);
  const Pack slope = (x >= 0.0f ? splat(1.0f) : e) / (e + 1.0f);
  return {value, slope};
}

// 2^f for |f| <= 1/2, exactly 1 at 0: a state without input and decay stays as it is. Minimax in
// the relative error, 9.2e-8 before rounding.
inline Pack exp2_fraction(Pack f) {
  Pack p = f * 0x1.5bba147bb1219p-10f + 0x1.3cea87377c1eep-7f;
  p = p * f + 0x1.c6b752dcbd782p-5f;
  p = p * f + 0x1.ebf9bb8ac2c58p-3f;
  p = p * f + 0x1.62e429203ace2p-1f;
  return p * f + 1.0f;
}

/// 2^(x factor): the decay of a scan, which is where a scan spends its time, and a power of two
/// because e^r takes two more steps of a series. Relative error below 2e-7 for results from 2^-126
/// on (below: at most 2^-126), of the product as if it were exact; above the largest float infinity
/// or at least 2^127. NaN stays NaN.
#if defined(__AVX512F__)
inline Pack exp2_product(Pack x, Pack factor) {
  const Pack sum = x * factor + kRounder;
  const Pack whole = sum - kRounder;
  const Pack p = exp2_fraction(x * factor - whole);
  return (Pack)_mm512_scalef_ps((__m512)p, (__m512)whole);
}
#else
inline Pack exp2_product(Pack x, Pack factor) {
  const Pack product = min_of(splat(127.49f), max_of(splat(-126.0f), x * factor));
  const Pack sum = product + kRounder;
  const Pack p = exp2_fraction(product - (sum - kRounder));
  return (Pack)((IntPack)p + ((IntPack)sum << 23));
}
#endif

// The same in double, for checks of gradients.
inline double exp2_product(double x, double factor) { return ::exp2(x * factor); }
inline double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
inline Softplus<double> softplus(double x) {
  if (x > 20.0) return {x, 1.0};  // torch's threshold
  return {::log1p(::exp(x)), sigmoid(x)};
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
