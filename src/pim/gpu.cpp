#include "pim/gpu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

constexpr std::array<std::int64_t, 14> kTileSizes = {1,   2,   4,   8,   16,  32,  64,
                                                     128, 192, 256, 320, 384, 448, 512};
constexpr double kL1TileDepth = 32;       // of k, in the L1 footprint, even when k is smaller
constexpr double kL2TileDepthParts = 64;  // the L2 holds k / 64 of the contraction
constexpr std::int64_t kRegisterTile = 16;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a - 1) / b + 1; }

// Bytes that tiles of tile_m x tile_n outputs read and write in all.
double tile_traffic(const MatrixShape& s, std::int64_t tile_m, std::int64_t tile_n) {
  const auto m = static_cast<double>(s.m);
  const auto n = static_cast<double>(s.n);
  const auto k = static_cast<double>(s.k);
  const auto passes_n = static_cast<double>(ceil_div(s.n, tile_n));
  const auto passes_m = static_cast<double>(ceil_div(s.m, tile_m));
  return (passes_n * m * k + passes_m * n * k + m * n) * static_cast<double>(s.element_bytes) *
         static_cast<double>(s.count);
}

}  // namespace

GpuModel::GpuModel(const SystemPreset& preset, EstimateMode mode)
    : preset_(preset),
      mode_(mode),
      element_bytes_(static_cast<std::int64_t>(preset.value("element_bytes"))),
      num_cores_(preset.value("num_cores")),
      l1_bytes_(preset.value("l1_bytes")),
      l2_bytes_(preset.value("l2_bytes")),
      flops_per_s_(preset.value("peak_flops_per_s") * preset.value("compute_frac")),
      bytes_per_s_(preset.value("memory_bytes_per_s") * preset.value("memory_frac")) {
  if (element_bytes_ > 2) {
    throw ConfigError(fmt::format(
        "{}: constants.element_bytes: must be 1 or 2, the rate of the matrix units is known for no "
        "other; got {}",
        preset.file, element_bytes_));
  }
  if ((2 + kL1TileDepth * 2) * 2 > l1_bytes_) {
    throw ConfigError(fmt::format("{}: constants.l1_bytes: too small for any tile; got {}",
                                  preset.file, l1_bytes_));
  }
}

double GpuModel::wave_utilisation(double blocks) const {
  return blocks / (std::ceil(blocks / num_cores_) * num_cores_);
}

MatrixTiling GpuModel::tile(const MatrixShape& s, bool is_linear) const {
  // The reference splits only single products over the cores; a batched kernel gets one block a
  // product, which no real attention kernel does.
  const bool splits = is_linear || mode_ == EstimateMode::kPhysical;
  MatrixTiling best;
  double best_score = std::numeric_limits<double>::infinity();
  for (const auto size_m : kTileSizes) {
    const std::int64_t tile_m = std::min(size_m, s.m);
    for (const auto size_n : kTileSizes) {
      const std::int64_t tile_n = std::min(size_n, s.n);
      const auto rows = static_cast<double>(tile_m);
      const auto columns = static_cast<double>(tile_n);
      const double footprint =
          ((rows + columns) * kL1TileDepth + rows * columns) * static_cast<double>(s.element_bytes);
      if (footprint > l1_bytes_) continue;
      const double tiles =
          static_cast<double>(ceil_div(s.m, tile_m)) * static_cast<double>(ceil_div(s.n, tile_n));
      const double utilisation =
          wave_utilisation((splits ? tiles : 1.0) * static_cast<double>(s.count));
      const double traffic = tile_traffic(s, tile_m, tile_n);
      const double score = traffic / (utilisation * utilisation);
      if (score < best_score) {
        best_score = score;
        best = {
            .tile_m = tile_m, .tile_n = tile_n, .utilisation = utilisation, .l2_bytes = traffic};
      }
    }
  }
  best.dram_bytes = best_dram_bytes(s, best.tile_m, best.tile_n);
  return best;
}

// Candidates are i x j tiles of the L1, cut at m and n. More rows and more columns never cost
// traffic, so for each i the largest j that fits is best, and only an i that lowers the number of
// passes over the weights is worth looking at: sqrt(m) of them.
double GpuModel::best_dram_bytes(const MatrixShape& s, std::int64_t tile_m,
                                 std::int64_t tile_n) const {
  double best = tile_traffic(s, tile_m, tile_n);  // the L1 tile itself always counts as fitting
  const double depth = static_cast<double>(s.k) / kL2TileDepthParts;
  const double capacity = l2_bytes_ / static_cast<double>(s.element_bytes);
  const std::int64_t max_i = ceil_div(s.m, tile_m);
  const std::int64_t max_j = ceil_div(s.n, tile_n);
  for (std::int64_t i = 1; i <= max_i;) {
    const std::int64_t rows = i == max_i ? s.m : i * tile_m;
    const auto rows_d = static_cast<double>(rows);
    const double fitting = (capacity - rows_d * depth) / (rows_d + depth);
    if (fitting < 1) break;
    const std::int64_t j =
        fitting >= static_cast<double>(s.n) ? max_j : static_cast<std::int64_t>(fitting) / tile_n;
    if (j >= 1) best = std::min(best, tile_traffic(s, rows, j == max_j ? s.n : j * tile_n));
    const std::int64_t passes = ceil_div(max_i, i);
    if (passes == 1) break;
    i = ceil_div(max_i, passes - 1);
  }
  return best;
}

OperatorCost GpuModel::matrix(const MatrixShape& s, bool is_linear) const {
  const bool is_physical = mode_ == EstimateMode::kPhysical;
  const MatrixTiling tiling = tile(s, is_linear);
  const double macs_of_one =
      static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const double macs = macs_of_one * static_cast<double>(s.count);
  const std::int64_t whole_factor = 2 / s.element_bytes;  // the reference's int(2 / bytes)
  const auto rate_factor = static_cast<double>(whole_factor);
  const double compute_s = 2 * macs / (flops_per_s_ * tiling.utilisation * rate_factor);
  const double memory_s = tiling.dram_bytes / (bytes_per_s_ * tiling.utilisation);

  OperatorCost cost;
  cost.latency_ns = std::max(compute_s, memory_s) * 1e9;
  if (is_physical) cost.latency_ns += preset_.value("gemm_launch_us") * 1e3;
  // The reference forgets the bytes of an element and the count of a batch in the registers' part.
  const double register_bytes =
      is_physical ? 3 * macs * static_cast<double>(s.element_bytes) : 3 * macs_of_one;
  const double l1_bytes = tile_traffic(s, kRegisterTile, kRegisterTile);
  cost.energy_pj.add("dram", tiling.dram_bytes * preset_.value("dram_pj_per_byte"));
  cost.energy_pj.add("l2", tiling.l2_bytes * preset_.value("l2_pj_per_byte"));
  cost.energy_pj.add("l1", l1_bytes * preset_.value("l1_pj_per_byte"));
  cost.energy_pj.add("registers", register_bytes * preset_.value("register_pj_per_byte"));
  cost.energy_pj.add("alu", macs * preset_.value("alu_pj_per_mac"));
  return cost;
}

OperatorCost GpuModel::linear(std::int64_t m, std::int64_t n, std::int64_t k,
                              std::int64_t count) const {
  OperatorCost cost = matrix({.m = m, .n = n, .k = k, .count = 1, .element_bytes = element_bytes_},
                             /*is_linear=*/true);
  cost.latency_ns *= static_cast<double>(count);
  cost.energy_pj.scale(static_cast<double>(count));
  return cost;
}

OperatorCost GpuModel::batched(const MatrixShape& shape) const {
  return matrix(shape, /*is_linear=*/false);
}

OperatorCost GpuModel::elementwise(OperatorKind kind, std::int64_t m, std::int64_t n,
                                   std::int64_t count) const {
  double flops_per_element = 0;  // an embedding only copies
  double accesses = 2;           // of each element, in memory
  const char* slope_key = "activation_us_per_byte";
  const char* launch_key = "activation_launch_us";
  if (kind == OperatorKind::kNorm) {
    flops_per_element = 5;
    accesses = 3;
    slope_key = "norm_us_per_byte";
    launch_key = "norm_launch_us";
  } else if (kind == OperatorKind::kSoftmax) {
    flops_per_element = 5;
    slope_key = "softmax_us_per_byte";
    launch_key = "softmax_launch_us";
  } else if (kind == OperatorKind::kActivation) {
    flops_per_element = 8;
  }
  const bool is_one_kernel = kind == OperatorKind::kSoftmax;
  const double side_by_side = is_one_kernel ? static_cast<double>(count) : 1.0;
  const double in_turn = is_one_kernel ? 1.0 : static_cast<double>(count);
  const double elements = static_cast<double>(m) * static_cast<double>(n) * side_by_side;
  const double bytes = accesses * elements * static_cast<double>(element_bytes_);
  const double flops = flops_per_element * elements;

  // The reference runs an elementwise kernel on one core per operator of the batch.
  const double utilisation =
      mode_ == EstimateMode::kPhysical ? 1.0 : wave_utilisation(side_by_side);
  const std::int64_t whole_factor = 2 / element_bytes_;
  const double compute_s = flops / (flops_per_s_ * utilisation * static_cast<double>(whole_factor));
  const double slope = preset_.value(slope_key) * (preset_.value("elementwise_base_bytes_per_s") /
                                                   preset_.value("memory_bytes_per_s"));
  const double memory_s = (slope * bytes + preset_.value(launch_key)) * 1e-6;

  OperatorCost cost;
  cost.latency_ns = std::max(compute_s, memory_s) * 1e9 * in_turn;
  cost.energy_pj.add("dram", bytes * preset_.value("dram_pj_per_byte"));
  cost.energy_pj.add("l2", bytes * preset_.value("l2_pj_per_byte"));
  cost.energy_pj.add("l1", bytes * preset_.value("l1_pj_per_byte"));
  cost.energy_pj.add("registers", bytes * preset_.value("register_pj_per_byte"));
  cost.energy_pj.add("alu", flops / 2 * preset_.value("alu_pj_per_mac"));
  cost.energy_pj.scale(in_turn);
  return cost;
}

}  // namespace lowbank
