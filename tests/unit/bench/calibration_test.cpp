#include "bench/calibration.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "pim/estimator.h"
#include "pim/preset.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;

CalibrationGrid small_grid() {
  CalibrationGrid grid;
  grid.few_rows = {1, 4};
  grid.rows = {16, 64};
  grid.weights = {{64, 64}, {128, 32}, {96, 160}};
  grid.prompts = {{1, 2, 2, 16, 32, true},
                  {2, 4, 2, 32, 16, true},
                  {1, 4, 4, 24, 32, false},
                  {1, 2, 1, 64, 32, true}};
  grid.caches = {{1, 2, 2, 16, 32, true}, {2, 4, 2, 64, 16, true}, {1, 4, 4, 100, 32, true}};
  grid.elementwise = {1, 16};
  grid.scan_tokens = {1, 8, 32};
  grid.features = {64, 256};
  grid.model_tokens = 24;
  return grid;
}

TEST(CalibrationTest, WritesAPresetThatPricesTheModelItIsComparedWith) {
  const testing::TempFolder folder;
  CalibrationOptions options;
  options.output = folder.path("cpu.json");
  options.model = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/llama_gqa_tied";
  options.runs = 1;
  Metrics metrics;
  calibrate(options, small_grid(), metrics);

  const pim::SystemPreset preset = pim::load_preset(options.output);
  EXPECT_EQ(preset.kind, pim::SystemKind::kCpu);
  for (const auto& constant : preset.constants) {
    EXPECT_THAT(constant.source, HasSubstr("measured by lowbank bench --calibrate on"));
    if (constant.unit.starts_with("ns")) {
      EXPECT_THAT(constant.uncertain, HasSubstr("kernels")) << constant.key;
    }
  }
  ASSERT_EQ(metrics["comparison"].size(), 2U);  // forward and decode
  double largest = 0;
  for (const auto& row : metrics["comparison"]) {
    const double measured_s = row["measured_s"], modelled_s = row["modelled_s"];
    EXPECT_GT(measured_s, 0);
    EXPECT_GT(modelled_s, 0);
    EXPECT_NEAR(row["error_frac"].get<double>(), modelled_s / measured_s - 1, 1e-12);
    largest = std::max(largest, std::abs(row["error_frac"].get<double>()));
  }
  EXPECT_DOUBLE_EQ(preset.value("model_error_max_frac"), largest);
  EXPECT_THAT(pim::make_system(options.output, pim::SystemOptions{})->notes(),
              ::testing::Contains(HasSubstr("calibrated on that machine")));
}

TEST(CalibrationTest, AFolderThatIsNotThereIsSaidBeforeAnythingIsMeasured) {
  CalibrationOptions options;
  options.output = "/nonexistent/cpu.json";
  Metrics metrics;
  EXPECT_THROW(calibrate(options, CalibrationGrid{}, metrics), IoError);
}

}  // namespace
}  // namespace lowbank
