#pragma once

#include <cstdint>
#include <span>

#include "pim/preset.h"

namespace lowbank::pim {

/// How long kernels take on a GPU, by rules whose constants are fitted to measured times.
///
/// A product takes a launch and the softened maximum (a^p + b^p)^(1/p) of two times: that of its
/// bytes, and that of its tiles in waves over the cores. The tile and the number of parts that k is
/// split into are those with the least time. A tile starts up as long as startup_depth further
/// elements of k take, and takes no less than its core needs to load it; all tiles together take no
/// less than the cache between cores and memory needs to deliver them. Of an incomplete wave only
/// wave_frac of what is missing is lost, since cores do not work in step.
///
/// Cores compute at compute_scale of their peak; slower by sustained_loss in products of many times
/// 100 us (the clock falls as the chip reaches its power limit) and by aligned_loss where the rows
/// of k elements are a multiple of 2 KiB (they compete for the same places of a cache).
///
/// Source:  none; fitted and checked as docs/estimate.md says.
struct GpuTimes {
  explicit GpuTimes(const SystemPreset& preset);

  /// `num_products` products [rows, depth] x [depth, columns] side by side. `is_batched` ones do
  /// not compute the part of a tile beyond rows and columns (attention kernels have small tiles).
  /// `saved_bytes` are not moved, since some elements lie in memory in fewer than `element_bytes`.
  double matrix_s(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                  std::int64_t num_products, std::int64_t element_bytes, bool is_batched,
                  double saved_bytes = 0) const;

  /// What a core computes at a time.
  struct Tile {
    std::int64_t rows, columns;
  };
  static std::span<const Tile> tiles();

  double num_cores;
  double flops_per_s;  ///< peak, of 2-byte elements
  double bytes_per_s;  ///< peak
  double launch_us;
  double compute_scale;
  double memory_frac;
  double overlap;        ///< p; 1 = the times add up, infinite = they overlap
  double startup_depth;  ///< elements of k
  double split_us;       ///< more for a split k
  double wave_frac;
  double core_bandwidth_scale;   ///< a core's loads, of its even share of bytes_per_s
  double cache_bandwidth_scale;  ///< what the cache delivers, of bytes_per_s
  double sustained_loss;         ///< share of time added
  double aligned_loss;           ///< share of time added
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

}  // namespace lowbank::pim
