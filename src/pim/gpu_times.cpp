#include "pim/gpu_times.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lowbank::pim {
namespace {

constexpr GpuTimes::Tile kTiles[] = {{256, 128}, {128, 256}, {128, 128},
                                     {128, 64},  {64, 128},  {64, 64}};
constexpr double kSplits[] = {1, 2, 3, 4, 6, 8};
constexpr double kLeastSplitDepth = 256;  // of k
constexpr double kMostSplitWaves = 4;
constexpr double kMatrixUnitRows = 16;
constexpr double kPartialSumBytes = 4;
constexpr double kSustainedS = 100e-6;
constexpr std::int64_t kAlignedRowBytes = 2048;

double round_up(double value, double unit) { return std::ceil(value / unit) * unit; }

}  // namespace

GpuTimes::GpuTimes(const SystemPreset& preset)
    : num_cores(preset.value("num_cores")),
      flops_per_s(preset.value("peak_flops_per_s")),
      bytes_per_s(preset.value("memory_bytes_per_s")),
      launch_us(preset.value("gemm_launch_us")),
      compute_scale(preset.value("gemm_compute_scale")),
      memory_frac(preset.value("gemm_memory_frac")),
      overlap(preset.value("gemm_overlap_exponent")),
      startup_depth(preset.value("gemm_startup_depth")),
      split_us(preset.value("gemm_split_us")),
      wave_frac(preset.value("gemm_wave_frac")),
      core_bandwidth_scale(preset.value("gemm_core_bandwidth_scale")),
      cache_bandwidth_scale(preset.value("gemm_cache_bandwidth_scale")),
      sustained_loss(preset.value("gemm_sustained_loss")),
      aligned_loss(preset.value("gemm_aligned_loss")) {}

std::span<const GpuTimes::Tile> GpuTimes::tiles() { return kTiles; }

double GpuTimes::matrix_s(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                          std::int64_t num_products, std::int64_t element_bytes, bool is_batched,
                          double saved_bytes) const {
  const auto m = static_cast<double>(rows);
  const auto n = static_cast<double>(columns);
  const auto k = static_cast<double>(depth);
  const auto count = static_cast<double>(num_products);
  const auto bytes_each = static_cast<double>(element_bytes);
  const double peak = flops_per_s * std::floor(2.0 / bytes_each);
  const double at_peak_s = 2 * m * n * k * count / peak;
  // The operands of attention lie within larger rows.
  const bool is_aligned = !is_batched && depth * element_bytes % kAlignedRowBytes == 0;
  const double rate = peak / num_cores * compute_scale /
                      (1 + sustained_loss * at_peak_s / (at_peak_s + kSustainedS)) /
                      (is_aligned ? 1 + aligned_loss : 1.0);
  const double bytes = (m * k + n * k + m * n) * bytes_each * count - saved_bytes;
  const double bandwidth = bytes_per_s * memory_frac;

  double best = std::numeric_limits<double>::infinity();
  for (const double split : kSplits) {
    if (split > 1 && k / split < kLeastSplitDepth) break;
    double compute_s = std::numeric_limits<double>::infinity();
    for (const Tile& whole : kTiles) {
      const struct {
        double m, n;
      } tile = {static_cast<double>(whole.rows), static_cast<double>(whole.columns)};
      const double tiles = std::ceil(m / tile.m) * std::ceil(n / tile.n) * count * split;
      if (split > 1 && tiles > kMostSplitWaves * num_cores) continue;
      const double waves = tiles / num_cores;
      const double lost = (std::ceil(waves) - waves) * wave_frac;
      const double tile_rows = is_batched ? std::min(tile.m, round_up(m, kMatrixUnitRows)) : tile.m;
      const double tile_columns =
          is_batched ? std::min(tile.n, round_up(n, kMatrixUnitRows)) : tile.n;
      const double tile_bytes =
          (std::min(m, tile.m) + std::min(n, tile.n)) * k / split * bytes_each;
      const double tile_s =
          std::max(2 * tile_rows * tile_columns * (k / split + startup_depth) / rate,
                   tile_bytes * num_cores / (core_bandwidth_scale * bytes_per_s));
      compute_s =
          std::min(compute_s, std::max((waves < 1 ? 1.0 : waves + lost) * tile_s,
                                       tiles * tile_bytes / (cache_bandwidth_scale * bytes_per_s)));
    }
    if (std::isinf(compute_s)) continue;
    const double partial_bytes = split > 1 ? 2 * kPartialSumBytes * split * m * n * count : 0.0;
    const double memory_s = (bytes + partial_bytes) / bandwidth;
    const double longer = std::max(memory_s, compute_s);
    const double ratio = std::min(memory_s, compute_s) / longer;
    const double time_s = longer * std::pow(1 + std::pow(ratio, overlap), 1 / overlap) +
                          (split > 1 ? split_us * 1e-6 : 0.0);
    best = std::min(best, time_s);
  }
  return best + launch_us * 1e-6;
}

}  // namespace lowbank::pim
