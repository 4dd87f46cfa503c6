#pragma once

#include <memory>
#include <vector>

#include "pim/estimator.h"

namespace lowbank::pim {

/// So many times a constant of a CPU preset, which is in ns.
struct CpuTerm {
  const char* key;
  double quantity = 0;
};

/// For each operator, the terms whose sum is the time this toolkit's kernels take for it: a call
/// costs so much, and then every byte, multiply-accumulate or value. Products of few rows whose
/// operators share a group are one call. Of the bytes that decoding streams (weights, keys and
/// values) the part `cached_frac` comes from the cache, the others from memory.
std::vector<std::vector<CpuTerm>> cpu_terms(const std::vector<Operator>& operators,
                                            double cached_frac);

/// The part of what a phase streams that still lies in a cache of `cache_bytes` when it comes
/// round again. Weights count, and the keys and values of decode.
double cpu_cached_frac(const std::vector<Operator>& operators, double cache_bytes);

/// This toolkit's own kernels on a CPU that `lowbank bench --calibrate` has measured. Its energy is
/// not known.
std::unique_ptr<System> make_cpu_system(const SystemPreset& preset);

}  // namespace lowbank::pim
