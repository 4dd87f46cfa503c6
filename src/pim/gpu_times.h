#pragma once

#include <cstdint>

#include "pim/preset.h"

namespace lowbank {

/// How long kernels take on a GPU, by rules whose constants are fitted to measured times.
///
/// A product takes a launch and the softened maximum (a^p + b^p)^(1/p) of two times: that of its
/// bytes, and that of its tiles in waves over the cores. The tile and the number of parts that k is
/// split into are those with the least time. A tile of [a, b] reaches x / (x + half_tile) of the
/// cores' rate, x = a b / (a + b) being its products per element read; it starts up as long as
/// startup_depth further elements of k take; of an incomplete wave only wave_frac of what is
/// missing is lost, since cores do not work in step.
///
/// Source:  none; fitted and checked as docs/estimate.md says.
struct GpuTimes {
  explicit GpuTimes(const SystemPreset& preset);

  /// `num_products` products [rows, depth] x [depth, columns] side by side. `is_batched` ones do
  /// not compute the part of a tile beyond rows and columns (attention kernels have small tiles).
  double matrix_s(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                  std::int64_t num_products, std::int64_t element_bytes, bool is_batched) const;

  double num_cores;
  double flops_per_s;  ///< peak, of 2-byte elements
  double bytes_per_s;  ///< peak
  double launch_us;
  double compute_scale;
  double memory_frac;
  double overlap;        ///< p; 1 = the times add up, infinite = they overlap
  double half_tile;      ///< elements
  double startup_depth;  ///< elements of k
  double split_us;       ///< more for a split k
  double wave_frac;
};

/// us = us_per_byte x bytes + us_per_column x n + launch_us, of elementwise kernels over rows of n.
struct GpuLine {
  double us_per_byte = 0;
  double us_per_column = 0;
  double launch_us = 0;

  double us(double bytes, double columns) const {
    return us_per_byte * bytes + us_per_column * columns + launch_us;
  }
};

}  // namespace lowbank
