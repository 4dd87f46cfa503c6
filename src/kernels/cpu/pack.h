// Vector arithmetic of one instruction set. Read by the files of this folder only: each .cpp sets
// LOWBANK_ISA (a namespace of its own) and LOWBANK_LANES, and is compiled for its instructions. So
// nothing here may be a function of the standard library that is not C's: the linker could give
// everyone the copy that was compiled for the widest processor.
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

/// Channels side by side. The compiler's vector types: + - * / work on them, also with a scalar.
using Pack = float __attribute__((vector_size(4 * LOWBANK_LANES)));
using IntPack = std::int32_t __attribute__((vector_size(4 * LOWBANK_LANES)));

template <class V>
struct PackTraits;
template <>
struct PackTraits<Pack> {
  using Scalar = float;
  static constexpr int kLanes = LOWBANK_LANES;
};
template <>
struct PackTraits<double> {
  using Scalar = double;
  static constexpr int kLanes = 1;
};
template <class V>
using ScalarOf = typename PackTraits<V>::Scalar;

/// The first `count` lanes from memory; 0 in the others.
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

/// Sum over the lanes, halves onto halves: the order is fixed.
inline float lane_sum(Pack v) {
  float lanes[LOWBANK_LANES];
  std::memcpy(lanes, &v, sizeof(v));
  for (int width = LOWBANK_LANES / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
inline double lane_sum(double v) { return v; }

inline Pack splat(float x) { return Pack{} + x; }

// A NaN in x stays one in max_of, min_of and scale_by_power.
#if defined(__AVX512F__)
inline Pack max_of(Pack bound, Pack x) { return (Pack)_mm512_max_ps((__m512)bound, (__m512)x); }
inline Pack min_of(Pack bound, Pack x) { return (Pack)_mm512_min_ps((__m512)bound, (__m512)x); }
#elif defined(__AVX2__)
inline Pack max_of(Pack bound, Pack x) { return (Pack)_mm256_max_ps((__m256)bound, (__m256)x); }
inline Pack min_of(Pack bound, Pack x) { return (Pack)_mm256_min_ps((__m256)bound, (__m256)x); }
#else
inline Pack max_of(Pack bound, Pack x) { return bound > x ? bound : x; }
inline Pack min_of(Pack bound, Pack x) { return bound < x ? bound : x; }
#endif

// Adding it leaves the nearest integer in the low bits of the sum.
constexpr float kRounder = 12582912.0f;  // 1.5 2^23

// 2^f for |f| <= 1/2, exactly 1 at 0: a state without input and decay stays as it is. Minimax in
// the relative error, 9.2e-8 before rounding.
inline Pack exp2_fraction(Pack f) {
  Pack p = f * 0x1.5bba147bb1219p-10f + 0x1.3cea87377c1eep-7f;
  p = p * f + 0x1.c6b752dcbd782p-5f;
  p = p * f + 0x1.ebf9bb8ac2c58p-3f;
  p = p * f + 0x1.62e429203ace2p-1f;
  return p * f + 1.0f;
}

/// 2^(x factor). Relative error below 2e-7 for results from 2^-126 on (below: at most 2^-126), of
/// the product as if it were exact; above the largest float infinity or at least 2^127.
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

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.693147180559945309417f;

/// e^x. Relative error below 2.5e-7 for x in [-87, 88]; beyond, that of the nearer end.
inline Pack exp(Pack x) {
  x = min_of(splat(88.3f), max_of(splat(-87.3f), x));
  const Pack sum = x * kLog2E + kRounder;
  const Pack whole = sum - kRounder;
  // ln 2 in two parts: the first times a small integer is exact.
  const Pack rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  const Pack p = exp2_fraction(rest * kLog2E);
  return (Pack)((IntPack)p + ((IntPack)sum << 23));
}

inline Pack abs_of(Pack x) { return (Pack)((IntPack)x & 0x7FFFFFFF); }

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

/// 1 / (1 + e^-x).
inline Pack sigmoid(Pack x) { return 1.0f / (exp(-x) + 1.0f); }

// The same in double, for checks of gradients.
inline double exp2_product(double x, double factor) { return ::exp2(x * factor); }
inline double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
inline Softplus<double> softplus(double x) {
  if (x > 20.0) return {x, 1.0};  // torch's threshold
  return {::log1p(::exp(x)), sigmoid(x)};
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
