#include "pim/rram.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "pim_samples.h"

namespace lowbank {
namespace {

const SystemPreset& hyflexpim() {
  static const SystemPreset preset = load_preset("rram-hyflexpim");
  return preset;
}

// One block of one linear, one token.
Workload one_linear(std::int64_t out, std::int64_t in) {
  Workload workload;
  workload.batch = 1;
  workload.context = 1;
  workload.num_layers = 1;
  workload.decode = {testing::linear("q", 0, "", 1, out, in)};
  return workload;
}

TEST(RramTest, OneArrayOfTwoBitCellsAsComputedByHand) {
  const RramModel rram(hyflexpim(), EstimateMode::kReference, /*slc_frac=*/0);
  // 64 inputs x 32 outputs of four 2-bit cells: exactly one array of 64 x 128.
  EXPECT_EQ(rram.array_tasks(64, 32), 1);
  EXPECT_EQ(rram.array_tasks(65, 33), 4);
  EXPECT_EQ(rram.product_ns(64, 32, 1), 8 * 100.0);
  // 4096 x 4096: 64 x 128 = 8192 tasks; on 12 modules of 512 arrays two waves.
  EXPECT_EQ(rram.product_ns(4096, 4096, 16), 800);
  EXPECT_EQ(rram.product_ns(4096, 4096, 12), 1600);

  const PhaseCost cost = rram.price(one_linear(32, 64), Phase::kDecode);
  EXPECT_DOUBLE_EQ(cost.latency_ns, 800 + 24);  // and 24 cycles at 1 GHz to the next block
  EXPECT_DOUBLE_EQ(cost.time_ns.part("gemm"), 800);
  EXPECT_DOUBLE_EQ(cost.time_ns.part("transfer"), 24);
  // One module for 800 ns: ns x W = nJ.
  EXPECT_NEAR(cost.energy_pj.total(), 800 * 22.33659 / 24 * 1e3, 1e-6);
  EXPECT_NEAR(cost.energy_pj.part("adc"), 800 * 0.512 * 1e3, 1e-6);
  EXPECT_NEAR(cost.energy_pj.part("arrays"), 800 * 0.06078 * 1e3, 1e-6);
  EXPECT_NEAR(cost.energy_pj.part("drivers"), 800 * 0.29771 * 1e3, 1e-6);
  EXPECT_EQ(cost.num_chips, 1);
  EXPECT_NEAR(*cost.area_mm2, 24 * (11.24 + 64.05), 1e-9);
}

TEST(RramTest, ASlcShareOfTheWeightsTakesThatManyMoreCells) {
  // Half the weights in eight 1-bit cells, half in four 2-bit ones: six cells a weight.
  EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), EstimateMode::kPhysical, 0.5).effective_cell_bits(),
                   8.0 / 6);
  EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), EstimateMode::kReference, 0.5).effective_cell_bits(),
                   1.5);
  for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), mode, 0).effective_cell_bits(), 2);
    EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), mode, 1).effective_cell_bits(), 1);
  }
}

TEST(RramTest, SlcColumnsUseTheCheaperAdcInPhysicalModeOnly) {
  const Workload workload = one_linear(16, 64);  // one array even when all cells are SLC
  const auto adc = [&](EstimateMode mode) {
    return RramModel(hyflexpim(), mode, 1).price(workload, Phase::kDecode).energy_pj.part("adc");
  };
  EXPECT_NEAR(adc(EstimateMode::kPhysical) / adc(EstimateMode::kReference), 0.5652 / 0.78125,
              1e-12);
}

TEST(RramTest, MoreSlcIsNeverFasterNorSmaller) {
  const Workload workload = testing::sample_workload(
      {.num_layers = 24, .hidden = 2048, .feed_forward = 8192, .heads = 16, .context = 64});
  for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    double latency_ns = 0;
    double area_mm2 = 0;
    for (const double slc_frac : {0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0}) {
      const PhaseCost cost = RramModel(hyflexpim(), mode, slc_frac).price(workload, Phase::kDecode);
      // Digital work spreads over the units the weights need, so the few percent of it may shrink.
      const double gemm_ns = cost.time_ns.part("gemm");
      EXPECT_GE(gemm_ns, latency_ns * (1 - 1e-12)) << slc_frac;
      EXPECT_GE(*cost.area_mm2, area_mm2) << slc_frac;
      latency_ns = gemm_ns;
      area_mm2 = *cost.area_mm2;
    }
  }
}

TEST(RramTest, TheTwoProductsOfAFactoredLayerFollowEachOther) {
  Workload factored = one_linear(64, 64);
  factored.decode = {testing::linear("q", 0, "", 1, 32, 64),
                     testing::linear("q", 0, "", 1, 64, 32)};
  for (int stage = 0; stage < 2; ++stage) {
    factored.decode[static_cast<std::size_t>(stage)].factored_as = "svd";
    factored.decode[static_cast<std::size_t>(stage)].stage = stage;
    factored.decode[static_cast<std::size_t>(stage)].rank = 32;
  }
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, 0);
  EXPECT_DOUBLE_EQ(rram.price(one_linear(64, 64), Phase::kDecode).time_ns.part("gemm"), 800);
  EXPECT_DOUBLE_EQ(rram.price(factored, Phase::kDecode).time_ns.part("gemm"), 1600);
}

TEST(RramTest, AGroupRunsSideBySideAndTakesAsLongAsItsSlowest) {
  Workload workload = one_linear(32, 64);
  workload.decode = {testing::linear("q", 0, "qkv", 1, 32, 64),
                     testing::linear("k", 0, "qkv", 1, 32, 64),
                     testing::linear("o", 0, "", 1, 32, 64)};
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, 0);
  const PhaseCost cost = rram.price(workload, Phase::kDecode);
  EXPECT_DOUBLE_EQ(cost.time_ns.part("gemm"), 2 * 800);
  EXPECT_NEAR(cost.energy_pj.total(), 3 * 800 * 22.33659 / 24 * 1e3, 1e-6);  // three modules work
}

TEST(RramTest, AttentionAsComputedByHandForOneBlock) {
  Workload workload = one_linear(32, 64);
  workload.decode.push_back(testing::other(OperatorKind::kScore, "s", 0, 1, 1000, 64, 8));
  workload.decode.push_back(testing::other(OperatorKind::kAttend, "a", 0, 1, 64, 1000, 8));
  workload.decode.push_back(testing::other(OperatorKind::kSoftmax, "p", 0, 1, 1000, 0, 8));
  const PhaseCost cost =
      RramModel(hyflexpim(), EstimateMode::kPhysical, 0).price(workload, Phase::kDecode);
  // One block gets the whole chip: 24 units of 8 modules.
  EXPECT_DOUBLE_EQ(cost.time_ns.part("attention"), (1 + 1.5) * 8 * 64 * 1000 / (24 * 8 * 273.0));
  EXPECT_DOUBLE_EQ(cost.time_ns.part("others"), 8 * 1000 / (24 * 8 * 256.0));
  EXPECT_NEAR(cost.energy_pj.part("digital"),
              (2.5 * 8 * 64 * 1000 / 273 + 8 * 1000 / 256.0) / 8 * 52.25641 * 1e3, 1e-3);
}

TEST(RramTest, WeightsBeyondAChipTakeSeveralAndAHopBetweenThem) {
  // 4096 x 4096 two-bit-cell weights take 0.67 of a unit; 60 such blocks take 60 units, 3 chips.
  Workload workload = one_linear(4096, 4096);
  workload.num_layers = 60;
  workload.decode.clear();
  for (int layer = 0; layer < 60; ++layer) {
    workload.decode.push_back(
        testing::linear("l" + std::to_string(layer), layer, "", 1, 4096, 4096));
  }
  const PhaseCost cost =
      RramModel(hyflexpim(), EstimateMode::kPhysical, 0).price(workload, Phase::kDecode);
  EXPECT_EQ(cost.num_chips, 3);
  EXPECT_NEAR(cost.latency_ns, 60 * (800 + 24) + 2 * 4096 / 128.0, 1e-6);
  EXPECT_DOUBLE_EQ(*cost.pipeline_period_ns, 800 + 24);
}

TEST(RramTest, ABatchFillsThePipelineUntilTheSlowestStageLimits) {
  Workload workload = one_linear(32, 64);
  workload.num_layers = 10;
  workload.decode.clear();
  for (int layer = 0; layer < 10; ++layer) {
    workload.decode.push_back(testing::linear("l" + std::to_string(layer), layer, "", 1, 32, 64));
  }
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, 0);
  const auto latency_of_batch = [&](std::int64_t batch) {
    Workload w = workload;
    w.batch = batch;
    for (auto& op : w.decode) op.m = batch;
    return rram.price(w, Phase::kDecode).latency_ns;
  };
  EXPECT_NEAR(latency_of_batch(1), 10 * 824, 1e-6);
  EXPECT_NEAR(latency_of_batch(10), 10 * 824, 1e-6);
  EXPECT_NEAR(latency_of_batch(20), 20 * 824, 1e-6);
}

TEST(RramTest, ComponentsThatExceedTheModuleArePresetErrors) {
  SystemPreset preset = hyflexpim();
  for (auto& constant : preset.constants) {
    if (constant.key == "analog_power_w_per_pu") constant.value = 5;
  }
  EXPECT_THROW(RramModel(preset, EstimateMode::kPhysical, 0), ConfigError);
}

}  // namespace
}  // namespace lowbank
