#include "pim/gpu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank::pim {
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
  return (passes_n * m * k * static_cast<double>(s.element_bytes) +
          passes_m * n * k * s.stored_matrix_bytes() + m * n * s.stored_result_bytes()) *
         static_cast<double>(s.count);
}

}  // namespace

GpuCost GpuCost::times(double count) const {
  return {.latency_ns = latency_ns * count,
          .dram_pj = dram_pj * count,
          .l2_pj = l2_pj * count,
          .l1_pj = l1_pj * count,
          .register_pj = register_pj * count,
          .alu_pj = alu_pj * count,
          .link_pj = link_pj * count};
}

GpuCost GpuCost::plus(const GpuCost& other) const {
  return {.latency_ns = latency_ns + other.latency_ns,
          .dram_pj = dram_pj + other.dram_pj,
          .l2_pj = l2_pj + other.l2_pj,
          .l1_pj = l1_pj + other.l1_pj,
          .register_pj = register_pj + other.register_pj,
          .alu_pj = alu_pj + other.alu_pj,
          .link_pj = link_pj + other.link_pj};
}

OperatorCost GpuCost::named() const {
  OperatorCost cost;
  cost.latency_ns = latency_ns;
  cost.energy_pj.add("dram", dram_pj);
  cost.energy_pj.add("l2", l2_pj);
  cost.energy_pj.add("l1", l1_pj);
  cost.energy_pj.add("registers", register_pj);
  cost.energy_pj.add("alu", alu_pj);
  if (link_pj > 0) cost.energy_pj.add("link", link_pj);
  return cost;
}

GpuLine gpu_line(const SystemPreset& preset, const std::string& kind) {
  const double bytes_per_s = preset.value("memory_bytes_per_s");
  const bool is_known = preset.find(kind + "_us_per_byte").has_value();
  const std::string prefix = is_known ? kind : "activation";
  const double slowness = preset.value("elementwise_base_bytes_per_s") / bytes_per_s;
  return {.us_per_byte = std::max(preset.value(prefix + "_us_per_byte") * slowness,
                                  1e6 / bytes_per_s),  // nothing outruns the memory
          .us_per_column = preset.find(prefix + "_us_per_column").value_or(0),
          .launch_us = preset.value(prefix + "_launch_us")};
}

GpuModel::GpuModel(const SystemPreset& given, const Corrections& corrections,
                   const SystemPreset* links)
    : corrections_(corrections),
      times_(given.with_hardware(corrections.built_hardware)),
      prompt_attention_(given.with_hardware(corrections.built_hardware)),
      decode_attention_(given.with_hardware(corrections.built_hardware)),
      state_update_(given.with_hardware(corrections.built_hardware)),
      all_reduce_((links != nullptr ? *links : given).with_hardware(corrections.built_hardware)) {
  const SystemPreset preset = given.with_hardware(corrections.built_hardware);
  element_bytes_ = static_cast<std::int64_t>(preset.value("element_bytes"));
  num_cores_ = preset.value("num_cores");
  l1_bytes_ = preset.value("l1_bytes");
  l2_bytes_ = preset.value("l2_bytes");
  flops_per_s_ = preset.value("peak_flops_per_s") * preset.value("compute_frac");
  bytes_per_s_ = preset.value("memory_bytes_per_s") * preset.value("memory_frac");
  // `reference` of a constant of time is the published rule's, whatever machine it is.
  const SystemPreset timing = given.with_hardware(corrections.fitted_gpu);
  if (corrections.fitted_gpu) {
    softmax_ = gpu_line(timing, "softmax");
    norm_ = gpu_line(timing, "norm");
    activation_ = gpu_line(timing, "activation");
    embedding_ = gpu_line(timing, "embedding");
  } else {
    const double slowness =
        timing.value("elementwise_base_bytes_per_s") / preset.value("memory_bytes_per_s");
    const auto line = [&](const std::string& name) {
      return GpuLine{.us_per_byte = timing.value(name + "_us_per_byte") * slowness,
                     .launch_us = timing.value(name + "_launch_us")};
    };
    softmax_ = line("softmax");
    norm_ = line("norm");
    norm_.us_per_column = timing.value("norm_us_per_column");
    activation_ = line("activation");
    activation_.us_per_column = timing.value("activation_us_per_column");
    embedding_ = activation_;
  }
  error_ = {.median_frac = timing.value("gemm_error_median_frac"),
            .p90_frac = timing.value("gemm_error_p90_frac")};
  link_bytes_per_s_ = preset.value("link_bytes_per_s");
  link_ = {.us_per_byte = timing.value("link_us_per_byte") *
                          (preset.value("link_base_bytes_per_s") / link_bytes_per_s_),
           .launch_us = timing.value("link_launch_us")};
  pj_ = {.dram = preset.value("dram_pj_per_byte"),
         .l2 = preset.value("l2_pj_per_byte"),
         .l1 = preset.value("l1_pj_per_byte"),
         .registers = preset.value("register_pj_per_byte"),
         .alu = preset.value("alu_pj_per_mac"),
         .link = (links != nullptr ? *links : preset).find("link_pj_per_byte").value_or(0)};
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
  const bool splits = is_linear || corrections_.fitted_gpu;
  MatrixTiling best;
  double best_score = std::numeric_limits<double>::infinity();
  std::int64_t tile_m = 0;
  for (const auto size_m : kTileSizes) {
    if (tile_m == s.m) break;  // larger tiles are cut to the same
    tile_m = std::min(size_m, s.m);
    std::int64_t tile_n = 0;
    for (const auto size_n : kTileSizes) {
      if (tile_n == s.n) break;
      tile_n = std::min(size_n, s.n);
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

// The reference's energies go by the tiles of its times. Those of the fitted times differ by the
// clock and the waves; the energies of any of them that moves least grow with every size.
MatrixTiling GpuModel::traffic(const MatrixShape& s, bool is_linear) const {
  if (!corrections_.gpu_energy || !corrections_.fitted_gpu) return tile(s, is_linear);
  MatrixTiling best;
  best.utilisation = 1;
  best.l2_bytes = std::numeric_limits<double>::infinity();
  for (const auto& [rows, columns] : GpuTimes::tiles()) {
    best.l2_bytes =
        std::min(best.l2_bytes, tile_traffic(s, std::min(rows, s.m), std::min(columns, s.n)));
  }
  best.tile_m = std::min(GpuTimes::tiles()[0].rows, s.m);
  best.tile_n = std::min(GpuTimes::tiles()[0].rows, s.n);
  best.dram_bytes = best_dram_bytes(s, best.tile_m, best.tile_n);
  return best;
}

GpuCost GpuModel::matrix(const MatrixShape& s, bool is_linear) const {
  const MatrixTiling tiling = traffic(s, is_linear);
  const double macs_of_one =
      static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const double macs = macs_of_one * static_cast<double>(s.count);
  double time_s = 0;
  if (corrections_.fitted_gpu) {
    const auto element_bytes = static_cast<double>(s.element_bytes);
    const double saved_bytes =
        static_cast<double>(s.n) * static_cast<double>(s.count) *
        (static_cast<double>(s.k) * (element_bytes - s.stored_matrix_bytes()) +
         static_cast<double>(s.m) * (element_bytes - s.stored_result_bytes()));
    time_s = times_.matrix_s(s.m, s.n, s.k, s.count, s.element_bytes, !is_linear, saved_bytes);
  } else {
    const std::int64_t whole_factor = 2 / s.element_bytes;  // the reference's int(2 / bytes)
    const auto rate_factor = static_cast<double>(whole_factor);
    time_s = std::max(2 * macs / (flops_per_s_ * tiling.utilisation * rate_factor),
                      tiling.dram_bytes / (bytes_per_s_ * tiling.utilisation));
  }
  // The reference forgets the bytes of an element and the count of a batch in the registers' part.
  const double register_bytes =
      corrections_.gpu_energy ? 3 * macs * static_cast<double>(s.element_bytes) : 3 * macs_of_one;
  return {.latency_ns = time_s * 1e9,
          .dram_pj = tiling.dram_bytes * pj_.dram,
          .l2_pj = tiling.l2_bytes * pj_.l2,
          .l1_pj = tile_traffic(s, kRegisterTile, kRegisterTile) * pj_.l1,
          .register_pj = register_bytes * pj_.registers,
          .alu_pj = macs * pj_.alu};
}

GpuCost GpuModel::linear(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t count,
                         double bytes_per_weight) const {
  const MatrixShape one = {.m = m,
                           .n = n,
                           .k = k,
                           .count = 1,
                           .element_bytes = element_bytes_,
                           .matrix_bytes = bytes_per_weight};
  return matrix(one, /*is_linear=*/true).times(static_cast<double>(count));
}

GpuCost GpuModel::batched(const MatrixShape& shape) const {
  return matrix(shape, /*is_linear=*/false);
}

GpuCost GpuModel::elementwise(OperatorKind kind, std::int64_t m, std::int64_t n, std::int64_t count,
                              double told_bytes) const {
  double flops_per_element = 0;  // an embedding only copies
  double accesses = 2;           // of each element, in memory
  const GpuLine* line = &activation_;
  if (kind == OperatorKind::kNorm) {
    flops_per_element = 5;
    accesses = 3;
    line = &norm_;
  } else if (kind == OperatorKind::kSoftmax) {
    flops_per_element = 5;
    line = &softmax_;
  } else if (kind == OperatorKind::kActivation) {
    flops_per_element = 8;
  } else if (kind == OperatorKind::kEmbedding) {
    line = &embedding_;
  }
  const bool is_one_kernel = kind == OperatorKind::kSoftmax;
  const double side_by_side = is_one_kernel ? static_cast<double>(count) : 1.0;
  const double in_turn = is_one_kernel ? 1.0 : static_cast<double>(count);
  const double elements = static_cast<double>(m) * static_cast<double>(n) * side_by_side;
  if (corrections_.fitted_gpu) accesses = 2;
  const double bytes = corrections_.fitted_gpu && told_bytes > 0
                           ? told_bytes * side_by_side
                           : accesses * elements * static_cast<double>(element_bytes_);
  const double flops = flops_per_element * elements;

  // The reference runs an elementwise kernel on one core per operator of the batch.
  const double utilisation = corrections_.fitted_gpu ? 1.0 : wave_utilisation(side_by_side);
  const std::int64_t whole_factor = 2 / element_bytes_;
  const double compute_s = flops / (flops_per_s_ * utilisation * static_cast<double>(whole_factor));
  const double memory_s = line->us(bytes, static_cast<double>(n)) * 1e-6;
  return GpuCost{.latency_ns = std::max(compute_s, memory_s) * 1e9,
                 .dram_pj = bytes * pj_.dram,
                 .l2_pj = bytes * pj_.l2,
                 .l1_pj = bytes * pj_.l1,
                 .register_pj = bytes * pj_.registers,
                 .alu_pj = flops / 2 * pj_.alu}
      .times(in_turn);
}

GpuCost GpuModel::streamed(double bytes, std::int64_t columns, std::int64_t macs) const {
  return {.latency_ns = activation_.us(bytes, static_cast<double>(columns)) * 1e3,
          .dram_pj = bytes * pj_.dram,
          .l2_pj = bytes * pj_.l2,
          .l1_pj = bytes * pj_.l1,
          .register_pj = bytes * pj_.registers,
          .alu_pj = static_cast<double>(macs) * pj_.alu};
}

GpuCost GpuModel::attention(const AttentionShape& shape, bool is_decode) const {
  const double heads = shape.batch * shape.query_heads;
  const double scores =
      heads * (is_decode ? shape.queries * (shape.cached + shape.queries) : shape.num_scores());
  const double macs = 2 * shape.head_dim * scores;
  const double moved = shape.moved_bytes();
  // The blocks of a prompt read their keys and values again, from the L2.
  const double blocks = std::ceil(shape.queries / PromptAttention::kBlockRows);
  const double read_again = is_decode || blocks <= 1 ? 0.0
                                                     : 2 * shape.head_dim * shape.kv_bytes *
                                                           scores / PromptAttention::kBlockRows;
  const double softmax_flops = 5 * scores;
  return {
      .latency_ns =
          (is_decode ? decode_attention_.seconds(shape) : prompt_attention_.seconds(shape)) * 1e9,
      .dram_pj = moved * pj_.dram,
      .l2_pj = (moved + read_again) * pj_.l2,
      .l1_pj = (moved + read_again) * pj_.l1,
      .register_pj = 3 * macs * shape.element_bytes * pj_.registers,
      .alu_pj = (macs + softmax_flops / 2) * pj_.alu};
}

GpuCost GpuModel::state_update(std::int64_t rows, std::int64_t columns, std::int64_t count,
                               std::int64_t state_bytes) const {
  const auto states = static_cast<double>(count);
  const auto k = static_cast<double>(rows);
  const auto n = static_cast<double>(columns);
  const double elements = states * k * n;
  // Key, query and decay; value and result.
  const double bytes = 2 * elements * static_cast<double>(state_bytes) +
                       states * (3 * k + 2 * n) * static_cast<double>(element_bytes_);
  const double macs = 2 * elements;
  return {.latency_ns = state_update_.seconds(states, k, n, static_cast<double>(state_bytes)) * 1e9,
          .dram_pj = bytes * pj_.dram,
          .l2_pj = bytes * pj_.l2,
          .l1_pj = bytes * pj_.l1,
          .register_pj = 3 * macs * static_cast<double>(state_bytes) * pj_.registers,
          .alu_pj = macs * pj_.alu};
}

GpuCost GpuModel::all_reduce(double bytes, std::int64_t num_gpus) const {
  const auto gpus = static_cast<double>(num_gpus);
  if (corrections_.fitted_links) {
    // Each byte that is sent was read, each that comes is written.
    const double sent = AllReduceTimes::sent_bytes(bytes, gpus);
    return {.latency_ns = all_reduce_.seconds(bytes, gpus) * 1e9,
            .dram_pj = 2 * sent * pj_.dram,
            .link_pj = sent * pj_.link};
  }
  const double launch_s = link_.us(bytes, 0) * 1e-6;
  const double transfer_s = bytes / (link_bytes_per_s_ / 2);
  return {.latency_ns = std::max(launch_s, transfer_s) * std::log2(gpus) * 1e9,
          .dram_pj = bytes * pj_.dram};
}

}  // namespace lowbank::pim
