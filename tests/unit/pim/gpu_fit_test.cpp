#include "pim/gpu_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;

const Constant& constant_of(const SystemPreset& preset, const std::string& key) {
  for (const auto& constant : preset.constants) {
    if (constant.key == key) return constant;
  }
  throw std::logic_error(key);
}

// Projections of two made-up models, timed by a GPU that follows the rule exactly.
std::vector<MeasuredKernel> exact_kernels(const GpuTimes& times) {
  std::vector<MeasuredKernel> kernels;
  for (const auto& [model, hidden] : {std::pair("small", 2048), std::pair("large", 5120)}) {
    for (const std::int64_t n : {hidden / 8, hidden / 2, hidden, 3 * hidden}) {
      for (std::int64_t m = 1; m <= 4096; m *= 2) {
        kernels.push_back({.kind = "matmul",
                           .model = model,
                           .m = m,
                           .n = n,
                           .k = hidden,
                           .time_s = times.matrix_s(m, n, hidden, 1, 2, false)});
      }
    }
  }
  return kernels;
}

TEST(GpuFitTest, TheTimesOfAGpuThatFollowsTheRuleAreFoundAgain) {
  const SystemPreset start = load_preset("gpu-h100");
  GpuTimes times(start);
  times.launch_us = 7;
  times.memory_frac = 0.6;
  times.compute_scale = 0.5;
  const GpuFit fit = fit_gpu(start, exact_kernels(times), "made-up.csv");
  EXPECT_EQ(fit.held_out_by, "model");
  // Half of the products do not overcome the pull to a usual GPU's values, all of them nearly do.
  EXPECT_LT(fit.held_out.median_frac, 0.05);
  EXPECT_LT(fit.fitted.median_frac, 0.03);
  EXPECT_LT(fit.fitted.p90_frac, 0.06);
  EXPECT_NEAR(fit.preset.value("gemm_launch_us"), 7, 0.8);  // usual is 3.5
  EXPECT_NEAR(fit.preset.value("gemm_memory_frac"), 0.6, 0.03);
  EXPECT_GT(fit.reference.median_frac, 0.2);
  EXPECT_THAT(constant_of(fit.preset, "gemm_launch_us").source, HasSubstr("made-up.csv"));
  // What is written is a preset again.
  const SystemPreset again = preset_from_json(preset_to_json(fit.preset), "again", "again.json");
  EXPECT_EQ(again.value("gemm_launch_us"), fit.preset.value("gemm_launch_us"));
}

TEST(GpuFitTest, ProductsOfOneModelAreHeldOutByShape) {
  const SystemPreset start = load_preset("gpu-h100");
  std::vector<MeasuredKernel> kernels = exact_kernels(GpuTimes(start));
  for (auto& kernel : kernels) kernel.model = "";
  const GpuFit fit = fit_gpu(start, kernels, "x.csv");
  EXPECT_EQ(fit.held_out_by, "shape");
  EXPECT_LT(fit.held_out.median_frac, 0.02);
}

TEST(GpuFitTest, TooFewProductsAreRefused) {
  const SystemPreset start = load_preset("gpu-h100");
  std::vector<MeasuredKernel> kernels = exact_kernels(GpuTimes(start));
  kernels.resize(39);
  EXPECT_THROW(fit_gpu(start, kernels, "x.csv"), ConfigError);
}

// The presets state what a fit to the measured operators gives, and how wrong it is on others.
TEST(GpuFitTest, ThePresetsAreTheFitToTheMeasuredOperators) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no measured figures: set LOWBANK_SHARED_DATA";
  const auto measured = read_measured_kernels(
      CsvTable::read(folder + "/gpu_measured.csv", {"gpu", "kind", "m", "n", "k", "time_ms"}));
  ASSERT_EQ(measured.size(), 2u);
  for (const auto& [gpu, kernels] : measured) {
    const SystemPreset preset = load_preset(gpu == "A100" ? "gpu-a100" : "gpu-h100");
    const GpuFit fit = fit_gpu(preset, kernels, "gpu_measured.csv");
    EXPECT_LE(fit.held_out.median_frac, gpu == "A100" ? 0.040 : 0.050) << gpu;
    EXPECT_LE(fit.held_out.p90_frac, gpu == "A100" ? 0.110 : 0.150) << gpu;
    for (const auto& constant : fit.preset.constants) {
      // A search ends where its machine's rounding leads it, within the width of the minimum.
      const double stated = preset.value(constant.key);
      EXPECT_NEAR(constant.value, stated, 0.05 * stated) << gpu << " " << constant.key;
    }
    EXPECT_NEAR(constant_of(preset, "gemm_error_median_frac").reference.value_or(0),
                fit.reference.median_frac, 1e-3);
    EXPECT_LT(fit.held_out.p90_frac, fit.reference.median_frac);
  }
}

}  // namespace
}  // namespace lowbank::pim
