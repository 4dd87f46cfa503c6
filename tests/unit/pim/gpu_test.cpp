#include "pim/gpu.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "pim/preset.h"

namespace lowbank::pim {
namespace {

const SystemPreset& a100() {
  static const SystemPreset preset = load_preset("gpu-a100");
  return preset;
}

TEST(GpuTest, OneVectorTimesA4096MatrixAsComputedByHand) {
  const GpuModel gpu(a100(), EstimateMode::kReference);
  // Tiles of 1 x 8: 512 blocks in 5 waves of 108 cores. 1 x 4 has the same waves and more traffic,
  // 1 x 2 wastes fewer cores but reads the vector 2048 times.
  const MatrixTiling tiling = gpu.tile({.m = 1, .n = 4096, .k = 4096}, /*is_linear=*/true);
  EXPECT_EQ(tiling.tile_m, 1);
  EXPECT_EQ(tiling.tile_n, 8);
  EXPECT_DOUBLE_EQ(tiling.utilisation, 512.0 / 540.0);
  EXPECT_DOUBLE_EQ(tiling.l2_bytes, 2.0 * (512 * 4096 + 4096 * 4096 + 4096));
  const double compulsory = 2.0 * (4096 + 4096.0 * 4096.0 + 4096);
  EXPECT_DOUBLE_EQ(tiling.dram_bytes, compulsory);

  const GpuCost cost = gpu.linear(1, 4096, 4096, 1);
  EXPECT_DOUBLE_EQ(cost.latency_ns, compulsory / (1.935e12 * .85 * 512 / 540) * 1e9);
  EXPECT_DOUBLE_EQ(cost.dram_pj, compulsory * 28.72);
  EXPECT_DOUBLE_EQ(cost.alu_pj, 4096.0 * 4096.0 * .32);
  EXPECT_DOUBLE_EQ(cost.register_pj, 3 * 4096.0 * 4096.0 * .0675);
  EXPECT_DOUBLE_EQ(cost.l1_pj, 2.0 * (256 * 4096 + 4096 * 4096 + 4096) * 1.28);
}

TEST(GpuTest, ElementwiseKernelsFollowTheirStraightLines) {
  const GpuModel reference(a100(), EstimateMode::kReference);
  const double bandwidth_ratio = 1.555e12 / 1.935e12;
  EXPECT_NEAR(reference.elementwise(OperatorKind::kNorm, 32, 4096, 1).latency_ns,
              (1.6e-6 * bandwidth_ratio * 3 * 32 * 4096 * 2 + 6.87) * 1e3, 1e-6);
  EXPECT_NEAR(reference.elementwise(OperatorKind::kSoftmax, 1, 4096, 32).latency_ns,
              (6.15e-7 * bandwidth_ratio * 2 * 32 * 4096 * 2 + 6.87) * 1e3, 1e-6);
  EXPECT_NEAR(reference.elementwise(OperatorKind::kActivation, 1, 4096, 3).latency_ns,
              3 * (4.47e-7 * bandwidth_ratio * 2 * 4096 * 2 + 8.29) * 1e3, 1e-6);
  const GpuModel physical(a100(), EstimateMode::kPhysical);
  EXPECT_NEAR(physical.elementwise(OperatorKind::kNorm, 32, 4096, 1).latency_ns,
              (a100().value("norm_us_per_byte") * 2 * 32 * 4096 * 2 +
               a100().value("norm_us_per_column") * 4096 + a100().value("norm_launch_us")) *
                  1e3,
              1e-6);
}

// 4096 values a row in, gate and value, and 4096 out: 3 x 2 B x 4096 a row, whatever the preset
// was fitted to; nothing is faster than the memory.
TEST(GpuTest, ElementwiseKernelsMoveTheirTrueBytesAndDoNotOutrunTheMemory) {
  const GpuModel gpu(a100(), EstimateMode::kPhysical);
  const double bytes = 3.0 * 2 * 4096 * 8192;
  const GpuCost gated = gpu.elementwise(OperatorKind::kActivation, 8192, 4096, 1, bytes);
  EXPECT_DOUBLE_EQ(gated.dram_pj, bytes * 28.72);
  EXPECT_NEAR(gated.latency_ns * 1e-3,
              a100().value("activation_us_per_byte") * bytes +
                  a100().value("activation_us_per_column") * 4096 +
                  a100().value("activation_launch_us"),
              1e-6);
  EXPECT_GT(bytes / (gated.latency_ns * 1e-9), 0.9e12);  // it was 0.70 TB/s
  for (const char* const name : {"gpu-a100", "gpu-h100", "gpu-h200", "gpu-b200"}) {
    const SystemPreset preset = load_preset(name);
    const GpuModel any(preset, EstimateMode::kPhysical);
    for (const OperatorKind kind : {OperatorKind::kSoftmax, OperatorKind::kNorm,
                                    OperatorKind::kActivation, OperatorKind::kEmbedding}) {
      const double moved = 2.0 * 2 * 65536 * 4096;
      EXPECT_LE(moved / (any.elementwise(kind, 65536, 4096, 1).latency_ns * 1e-9),
                preset.value("memory_bytes_per_s"))
          << name;
    }
  }
}

// The published softmax of an A100 was measured on another GPU and took 2.0 TB/s here.
TEST(GpuTest, AConstantThatIsFasterThanTheMemoryIsHeldToIt) {
  SystemPreset preset = a100();
  for (auto& constant : preset.constants) {
    if (constant.key == "softmax_us_per_byte") constant.value = 4.942e-7;
  }
  const GpuModel gpu(preset, EstimateMode::kPhysical);
  const double moved = 2.0 * 2 * 65536 * 4096;
  EXPECT_LE(moved / (gpu.elementwise(OperatorKind::kSoftmax, 65536, 4096, 1).latency_ns * 1e-9),
            1.935e12);
}

// Nothing of what a product costs falls as it grows: not at 25 and 26 rows of a 4096 x 4096 layer,
// where the tile of another rule changed.
TEST(GpuTest, TheEnergyOfAProductGrowsWithEverySize) {
  const GpuModel gpu(a100(), EstimateMode::kPhysical);
  for (const std::int64_t columns : {512, 4096, 11008, 32000}) {
    GpuCost before;
    for (std::int64_t rows = 1; rows <= 700; ++rows) {
      const GpuCost cost = gpu.linear(rows, columns, 4096, 1);
      EXPECT_GE(cost.dram_pj, before.dram_pj) << rows << " x " << columns;
      EXPECT_GE(cost.on_chip_pj(), before.on_chip_pj()) << rows << " x " << columns;
      before = cost;
    }
  }
  // Every byte once: (26 x 4096 + 4096 x 4096 + 26 x 4096) x 2 B.
  EXPECT_DOUBLE_EQ(gpu.linear(26, 4096, 4096, 1).dram_pj,
                   2.0 * (2 * 26 * 4096 + 4096.0 * 4096) * 28.72);
}

TEST(GpuTest, RegisterEnergyOfABatchCountsEveryProductInPhysicalModeOnly) {
  const MatrixShape shape = {.m = 1, .n = 128, .k = 64, .count = 10};
  const double one = 3 * 128 * 64 * .0675;
  EXPECT_DOUBLE_EQ(GpuModel(a100(), EstimateMode::kReference).batched(shape).register_pj, one);
  EXPECT_DOUBLE_EQ(GpuModel(a100(), EstimateMode::kPhysical).batched(shape).register_pj,
                   one * 10 * 2);  // products, bytes of an element
}

TEST(GpuTest, AFittedTimeIsItsLaunchAtTheSmallEndAndThePeaksAtTheLarge) {
  const GpuTimes times(a100());
  // The start-up of the one tile, a few hundred elements of k, takes the half microsecond over it.
  EXPECT_NEAR(times.matrix_s(1, 1, 1, 1, 2, false) * 1e6, times.launch_us, 0.7);
  // A vector through a large matrix moves its bytes; a large product computes.
  const double bytes = 2.0 * 65536 * 65536;
  EXPECT_NEAR(times.matrix_s(1, 65536, 65536, 1, 2, false),
              bytes / (times.bytes_per_s * times.memory_frac), 0.1 * bytes / times.bytes_per_s);
  const double rate =
      2.0 * 32768 * 32768 * 32768 / times.matrix_s(32768, 32768, 32768, 1, 2, false);
  EXPECT_GT(rate, 0.6 * times.flops_per_s);
  EXPECT_LT(rate, times.flops_per_s * times.compute_scale);
}

TEST(GpuTest, FittedTimesGrowWithEverySizeAndABatchSharesTheLaunch) {
  const GpuTimes times(a100());
  for (const bool is_batched : {false, true}) {
    double before = 0;
    for (std::int64_t size = 16; size <= 16384; size *= 2) {
      const double now = times.matrix_s(size, size, size, 1, 2, is_batched);
      EXPECT_GT(now, before) << size;
      before = now;
    }
  }
  const double one = times.matrix_s(1, 2048, 128, 1, 2, true);
  const double many = times.matrix_s(1, 2048, 128, 64, 2, true);
  EXPECT_GT(many, one);
  EXPECT_LT(many, 16 * one);
}

TEST(GpuTest, RowsOfAMultipleOf2KibComputeSlowerUnlessTheyAreAttentions) {
  GpuTimes slow(a100());
  slow.aligned_loss = 0.5;
  GpuTimes even = slow;
  even.aligned_loss = 0;
  const auto ratio = [&](std::int64_t depth, bool is_batched) {
    return slow.matrix_s(8192, 8192, depth, 1, 2, is_batched) /
           even.matrix_s(8192, 8192, depth, 1, 2, is_batched);
  };
  // Cores bound a product of this size: its launch and bytes take less than a tenth.
  EXPECT_GT(ratio(5 * 1024, false), 1.4);
  EXPECT_EQ(ratio(5 * 1024, true), 1);
  EXPECT_EQ(ratio(5 * 1024 + 8, false), 1);
  EXPECT_EQ(ratio(5 * 1024 + 512, false), 1);
}

TEST(GpuTest, TheClockFallsInLongProductsOnly) {
  GpuTimes hot(a100());
  hot.sustained_loss = 0.5;
  GpuTimes cool = hot;
  cool.sustained_loss = 0;
  const auto ratio = [&](std::int64_t size) {
    return hot.matrix_s(size, size, size, 1, 2, false) /
           cool.matrix_s(size, size, size, 1, 2, false);
  };
  EXPECT_LT(ratio(512), 1.01);  // 1 us at the peak: 1/100 of the loss
  EXPECT_GT(ratio(16384), 1.45);
  EXPECT_LT(ratio(16384), 1.5);
}

TEST(GpuTest, TheBandwidthsOfACoreAndOfTheCacheAreBounds) {
  // One tile has at most 8 parts of k, so at most 8 cores load the vector's weights.
  GpuTimes narrow(a100());
  narrow.core_bandwidth_scale = 0.1;
  const double weight_bytes = 2.0 * 64 * 4096;
  EXPECT_GT(narrow.matrix_s(1, 64, 4096, 1, 2, false),
            weight_bytes / 8 / (narrow.core_bandwidth_scale * narrow.bytes_per_s / 108));
  // Tiles of 256 by 128 load 256 + 128 rows for as many products as 85 rows of each operand make.
  GpuTimes far(a100());
  far.cache_bandwidth_scale = 0.1;
  const double loaded_bytes = 2.0 * (8192 / 256) * (8192 / 128) * (256 + 128) * 8192;
  EXPECT_GT(far.matrix_s(8192, 8192, 8192, 1, 2, false),
            loaded_bytes / (far.cache_bandwidth_scale * far.bytes_per_s));
}

TEST(GpuTest, OffChipTrafficEqualsASearchOverEveryTile) {
  // The plain search that best_dram_bytes shortens, over an L2 small enough to be felt.
  SystemPreset small = a100();
  for (auto& constant : small.constants) {
    if (constant.key == "l2_bytes") constant.value = 100000;
  }
  const GpuModel gpu(small, EstimateMode::kReference);
  for (const MatrixShape s :
       {MatrixShape{.m = 700, .n = 900, .k = 512}, MatrixShape{.m = 129, .n = 5000, .k = 4000},
        MatrixShape{.m = 3000, .n = 50, .k = 64}, MatrixShape{.m = 1, .n = 1, .k = 1}}) {
    const MatrixTiling tiling = gpu.tile(s, true);
    const auto traffic = [&](std::int64_t rows, std::int64_t columns) {
      const std::int64_t passes_m = (s.m + rows - 1) / rows;
      const std::int64_t passes_n = (s.n + columns - 1) / columns;
      return 2.0 * static_cast<double>(passes_n * s.m * s.k + passes_m * s.n * s.k + s.m * s.n);
    };
    double best = traffic(tiling.tile_m, tiling.tile_n);
    for (std::int64_t rows = tiling.tile_m;; rows = std::min(rows + tiling.tile_m, s.m)) {
      for (std::int64_t columns = tiling.tile_n;;
           columns = std::min(columns + tiling.tile_n, s.n)) {
        const double depth = static_cast<double>(s.k) / 64;
        const auto sides = static_cast<double>(rows + columns);
        const auto area = static_cast<double>(rows * columns);
        if ((sides * depth + area) * 2 <= 100000) best = std::min(best, traffic(rows, columns));
        if (columns == s.n) break;
      }
      if (rows == s.m) break;
    }
    EXPECT_DOUBLE_EQ(tiling.dram_bytes, best) << s.m << " " << s.n << " " << s.k;
  }
}

TEST(GpuTest, ExtremeSizesStayFiniteAndFast) {
  const GpuModel gpu(a100(), EstimateMode::kPhysical);
  const double latency_ns = gpu.linear(kMaxDimension, 1 << 20, 8, 1).latency_ns;
  EXPECT_TRUE(std::isfinite(latency_ns));
  EXPECT_GT(latency_ns, 1e12);
}

}  // namespace
}  // namespace lowbank::pim
