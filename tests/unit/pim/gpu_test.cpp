#include "pim/gpu.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "pim/preset.h"
#include "pim_samples.h"

namespace lowbank {
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
  const GpuModel gpu(a100(), EstimateMode::kPhysical);
  const double bandwidth_ratio = 1.555e12 / 1.935e12;
  EXPECT_NEAR(gpu.elementwise(OperatorKind::kNorm, 32, 4096, 1).latency_ns,
              (1.6e-6 * bandwidth_ratio * 3 * 32 * 4096 * 2 + 6.87) * 1e3, 1e-6);
  EXPECT_NEAR(gpu.elementwise(OperatorKind::kSoftmax, 1, 4096, 32).latency_ns,
              (6.15e-7 * bandwidth_ratio * 2 * 32 * 4096 * 2 + 6.87) * 1e3, 1e-6);
  EXPECT_NEAR(gpu.elementwise(OperatorKind::kActivation, 1, 4096, 3).latency_ns,
              3 * (4.47e-7 * bandwidth_ratio * 2 * 4096 * 2 + 8.29) * 1e3, 1e-6);
}

TEST(GpuTest, RegisterEnergyOfABatchCountsEveryProductInPhysicalModeOnly) {
  const MatrixShape shape = {.m = 1, .n = 128, .k = 64, .count = 10};
  const double one = 3 * 128 * 64 * .0675;
  EXPECT_DOUBLE_EQ(GpuModel(a100(), EstimateMode::kReference).batched(shape).register_pj, one);
  EXPECT_DOUBLE_EQ(GpuModel(a100(), EstimateMode::kPhysical).batched(shape).register_pj,
                   one * 10 * 2);  // products, bytes of an element
}

TEST(GpuTest, PhysicalModeAddsTheLaunchOfEveryProduct) {
  const GpuModel physical(a100(), EstimateMode::kPhysical);
  const GpuModel reference(a100(), EstimateMode::kReference);
  const double launch_ns = a100().value("gemm_launch_us") * 1e3;
  EXPECT_NEAR(physical.linear(1, 512, 512, 3).latency_ns,
              reference.linear(1, 512, 512, 3).latency_ns + 3 * launch_ns, 1e-6);
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

TEST(GpuTest, TheErrorThatThePresetsStateHoldsOnTheMeasuredProducts) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no measured figures: set LOWBANK_SHARED_DATA";
  for (const auto& [name, preset, stated_median, stated_p90] :
       {std::tuple("A100", "gpu-a100", 0.09, 0.28), std::tuple("H100", "gpu-h100", 0.12, 0.28)}) {
    const GpuModel gpu(load_preset(preset), EstimateMode::kPhysical);
    std::vector<double> errors;
    std::ifstream file(folder + "/gpu_measured.csv");
    for (std::string line; std::getline(file, line);) {
      std::vector<std::string> cells;  // gpu,kind,name,model,tp,m,n,k,dtype,time_ms,source
      std::istringstream stream(line);
      for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
      if (cells[0] != name || cells[1] != "matmul") continue;
      const double time_ns = std::stod(cells[9]) * 1e6;
      const double ours_ns =
          gpu.linear(std::stoll(cells[5]), std::stoll(cells[6]), std::stoll(cells[7]), 1)
              .latency_ns;
      errors.push_back(std::abs(ours_ns / time_ns - 1));
    }
    ASSERT_GT(errors.size(), 200u);
    std::sort(errors.begin(), errors.end());
    EXPECT_NEAR(errors[errors.size() / 2], stated_median, 0.006) << name;
    EXPECT_NEAR(errors[errors.size() * 9 / 10], stated_p90, 0.006) << name;
  }
}

TEST(GpuTest, ExtremeSizesStayFiniteAndFast) {
  const GpuModel gpu(a100(), EstimateMode::kPhysical);
  const double latency_ns = gpu.linear(kMaxDimension, 1 << 20, 8, 1).latency_ns;
  EXPECT_TRUE(std::isfinite(latency_ns));
  EXPECT_GT(latency_ns, 1e12);
}

}  // namespace
}  // namespace lowbank
