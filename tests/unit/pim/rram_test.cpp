#include "pim/rram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "pim_samples.h"

namespace lowbank::pim {
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
  const RramModel rram(hyflexpim(), EstimateMode::kReference, {.slc_frac = 0});
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
  EXPECT_DOUBLE_EQ(
      RramModel(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0.5}).effective_cell_bits(),
      8.0 / 6);
  EXPECT_DOUBLE_EQ(
      RramModel(hyflexpim(), EstimateMode::kReference, {.slc_frac = 0.5}).effective_cell_bits(),
      1.5);
  for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), mode, {.slc_frac = 0}).effective_cell_bits(), 2);
    EXPECT_DOUBLE_EQ(RramModel(hyflexpim(), mode, {.slc_frac = 1}).effective_cell_bits(), 1);
  }
}

TEST(RramTest, SlcColumnsUseTheCheaperAdcInPhysicalModeOnly) {
  const Workload workload = one_linear(16, 64);  // one array even when all cells are SLC
  const auto adc = [&](EstimateMode mode) {
    return RramModel(hyflexpim(), mode, {.slc_frac = 1})
        .price(workload, Phase::kDecode)
        .energy_pj.part("adc");
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
      const PhaseCost cost =
          RramModel(hyflexpim(), mode, {.slc_frac = slc_frac}).price(workload, Phase::kDecode);
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
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0});
  EXPECT_DOUBLE_EQ(rram.price(one_linear(64, 64), Phase::kDecode).time_ns.part("gemm"), 800);
  EXPECT_DOUBLE_EQ(rram.price(factored, Phase::kDecode).time_ns.part("gemm"), 1600);
}

TEST(RramTest, TheTilesOfATiledLayerRunSideBySideAndTheirTwoStagesFollowEachOther) {
  // 128 x 128 in four tiles of 64 x 64, each of rank 32.
  Workload tiled = one_linear(128, 128);
  tiled.decode = {testing::linear("q", 0, "", 1, 2 * 32, 64),
                  testing::linear("q", 0, "", 1, 64, 2 * 32)};
  for (int stage = 0; stage < 2; ++stage) {
    Operator& op = tiled.decode[static_cast<std::size_t>(stage)];
    op.factored_as = "tile_svd";
    op.stage = stage;
    op.rank = 32;
    op.tile = 64;
    op.count = 2;
  }
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0});
  const PhaseCost cost = rram.price(tiled, Phase::kDecode);
  EXPECT_DOUBLE_EQ(cost.time_ns.part("gemm"), 2 * 800);
  // In each stage both matrices (of two arrays) work, in one module.
  EXPECT_NEAR(cost.energy_pj.total(), 2 * 800 * 22.33659 / 24 * 1e3, 1e-6);
}

TEST(RramTest, ManySmallTilesPayForTheModulesThatTheirArraysFillOnAnyNumberOfChips) {
  // 4096 x 4096 in tiles of 64 x 64, each of rank 8; 20 % SLC: 1 / (0.2 / 1 + 0.8 / 2) = 5 / 3 bits a
  // cell, 128 x 5 / 24 = 26.7 outputs an array. Stage 0: 64 matrices of 64 x 512, ceil(512 / 26.7) = 20
  // arrays each, 1280 arrays, 2.5 -> 3 modules of 512. Stage 1: 64 matrices of 512 x 64, 8 x
  // ceil(64 / 26.7) = 24 arrays each, 1536 arrays, 3 modules.
  const Workload tiled = testing::tiled_workload({.in = 4096, .out = 4096, .tile = 64, .rank = 8});
  // A module: 22.33659 / 24 W, of which ADCs 0.512 W, and a third of the columns is SLC.
  const double module_w = 22.33659 / 24 - 0.512 / 3 * (1 - 0.5652 / 0.78125);
  for (const std::int64_t num_chips : {0, 1, 9}) {
    const RramModel rram(hyflexpim(), EstimateMode::kPhysical,
                         {.slc_frac = 0.2, .num_chips = num_chips});
    const double pj = rram.price(tiled, Phase::kDecode).energy_pj.total();
    EXPECT_NEAR(pj, 6 * 800 * module_w * 1e3, 1) << num_chips;
    EXPECT_NEAR(pj * 1e-6, 4.24, 0.005) << num_chips;
  }
}

TEST(RramTest, AGroupRunsSideBySideAndTakesAsLongAsItsSlowest) {
  Workload workload = one_linear(32, 64);
  workload.decode = {testing::linear("q", 0, "qkv", 1, 32, 64),
                     testing::linear("k", 0, "qkv", 1, 32, 64),
                     testing::linear("o", 0, "", 1, 32, 64)};
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0});
  const PhaseCost cost = rram.price(workload, Phase::kDecode);
  EXPECT_DOUBLE_EQ(cost.time_ns.part("gemm"), 2 * 800);
  // The arrays of q and k lie in one module, and later that of o in another.
  EXPECT_NEAR(cost.energy_pj.total(), 2 * 800 * 22.33659 / 24 * 1e3, 1e-6);
}

TEST(RramTest, EqualMatricesOfOneOperatorLieSideBySideAsOperatorsOfAGroupDo) {
  // The largest of them take more than a chip together.
  for (const std::int64_t out : {32, 4096, 98304}) {
    Workload two = one_linear(out, 4096);
    two.decode = {testing::linear("a", 0, "ab", 3, out, 4096),
                  testing::linear("b", 0, "ab", 3, out, 4096)};
    two.batch = 3;
    Workload counted = two;
    counted.decode.resize(1);
    counted.decode.front().count = 2;
    for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
      const RramModel rram(hyflexpim(), mode, {.slc_frac = 0.2});
      EXPECT_EQ(rram.plan(counted, Phase::kDecode).front().num_pus,
                rram.plan(two, Phase::kDecode).front().num_pus);
      const PhaseCost a = rram.price(counted, Phase::kDecode);
      const PhaseCost b = rram.price(two, Phase::kDecode);
      EXPECT_EQ(a.latency_ns, b.latency_ns) << out;
      EXPECT_EQ(*a.pipeline_period_ns, *b.pipeline_period_ns);
      EXPECT_EQ(a.num_chips, b.num_chips);
      EXPECT_EQ(a.weight_bytes, b.weight_bytes);
      EXPECT_NEAR(a.energy_pj.total() / b.energy_pj.total(), 1, 1e-12);
    }
  }
}

TEST(RramTest, AttentionAsComputedByHandForOneBlock) {
  Workload workload = one_linear(32, 64);
  workload.decode.push_back(testing::other(OperatorKind::kScore, "s", 0, 1, 1000, 64, 8));
  workload.decode.push_back(testing::other(OperatorKind::kAttend, "a", 0, 1, 64, 1000, 8));
  workload.decode.push_back(testing::other(OperatorKind::kSoftmax, "p", 0, 1, 1000, 0, 8));
  const PhaseCost cost = RramModel(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0})
                             .price(workload, Phase::kDecode);
  // One block gets the whole chip: 24 units of 8 modules.
  EXPECT_DOUBLE_EQ(cost.time_ns.part("attention"), (1 + 1.5) * 8 * 64 * 1000 / (24 * 8 * 273.0));
  EXPECT_DOUBLE_EQ(cost.time_ns.part("others"), 8 * 1000 / (24 * 8 * 256.0));
  EXPECT_NEAR(cost.energy_pj.part("digital"),
              (2.5 * 8 * 64 * 1000 / 273 + 8 * 1000 / 256.0) / 8 * 52.25641 * 1e3, 1e-3);
}

// Blocks of one linear each, of 4096 x (in) weights.
Workload blocks_of(const std::vector<std::int64_t>& in_features) {
  Workload workload = one_linear(4096, 4096);
  workload.num_layers = static_cast<std::int64_t>(in_features.size());
  workload.decode.clear();
  for (std::size_t i = 0; i < in_features.size(); ++i) {
    workload.decode.push_back(testing::linear("l" + std::to_string(i), static_cast<std::int64_t>(i),
                                              "", 1, 4096, in_features[i]));
  }
  return workload;
}

RramModel chips(std::int64_t num_chips) {
  return RramModel(hyflexpim(), EstimateMode::kPhysical, {.num_chips = num_chips});
}

std::vector<std::int64_t> units_of(const Workload& workload, std::int64_t num_chips) {
  std::vector<std::int64_t> units;
  for (const RramStage& stage : chips(num_chips).plan(workload, Phase::kDecode)) {
    units.push_back(stage.num_pus);
  }
  return units;
}

TEST(RramTest, WeightsBeyondAChipTakeSeveralAndAHopBetweenThem) {
  // 4096 x 4096 two-bit-cell weights take 0.67 of a unit; 60 such blocks take 60 units, 3 chips.
  const PhaseCost cost =
      chips(0).price(blocks_of(std::vector<std::int64_t>(60, 4096)), Phase::kDecode);
  EXPECT_EQ(cost.num_chips, 3);
  EXPECT_NEAR(cost.latency_ns, 60 * (800 + 24) + 2 * 4096 / 128.0, 1e-6);
  EXPECT_DOUBLE_EQ(*cost.pipeline_period_ns, 800 + 24);
}

TEST(RramTest, BlocksShareTheUnitsOfAllChips) {
  const Workload workload = blocks_of({4096, 4096, 4096});
  EXPECT_THAT(units_of(workload, 0), ::testing::Each(24 / 3));
  EXPECT_THAT(units_of(workload, 2), ::testing::Each(48 / 3));
  // A block that needs more than its share leaves the others less, and no chip more is needed.
  const std::int64_t large = 20 * 6144;  // 20 units
  EXPECT_THAT(units_of(blocks_of({4096, large}), 0), ::testing::ElementsAre(4, 20));
  EXPECT_THAT(units_of(blocks_of({4096, large, 4096}), 0), ::testing::ElementsAre(2, 20, 2));
  EXPECT_THAT(units_of(blocks_of({4096, large, 4096}), 4), ::testing::Each(32));
  // What lies outside of blocks keeps to the units it needs.
  Workload headed = workload;
  headed.decode.push_back(testing::linear("lm_head", -1, "", 1, 4096, 3 * 6144));
  EXPECT_THAT(units_of(headed, 0), ::testing::ElementsAre(7, 7, 7, 3));
}

TEST(RramTest, AsManyChipsAsNeededAreTheSameWhetherAskedForOrNot) {
  for (const std::int64_t blocks : {1, 5, 24, 25, 40, 60}) {
    Workload workload =
        blocks_of(std::vector<std::int64_t>(static_cast<std::size_t>(blocks), 4096));
    workload.decode.push_back(testing::linear("lm_head", -1, "", 1, 4096, 10 * 6144));
    const PhaseCost needed = chips(0).price(workload, Phase::kDecode);
    const PhaseCost asked = chips(needed.num_chips).price(workload, Phase::kDecode);
    EXPECT_EQ(needed.latency_ns, asked.latency_ns) << blocks;
    EXPECT_EQ(needed.area_mm2, asked.area_mm2) << blocks;
    const PhaseCost more = chips(needed.num_chips + 3).price(workload, Phase::kDecode);
    EXPECT_EQ(more.num_chips, needed.num_chips + 3);
    EXPECT_LE(*more.pipeline_period_ns, *needed.pipeline_period_ns) << blocks;
    EXPECT_GT(*more.area_mm2, *needed.area_mm2);
  }
}

TEST(RramTest, FewerChipsThanTheWeightsNeedAreRefusedWithBothFigures) {
  const Workload workload = blocks_of(std::vector<std::int64_t>(60, 4096));
  EXPECT_NO_THROW(chips(3).price(workload, Phase::kDecode));
  try {
    chips(2).price(workload, Phase::kDecode);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), ::testing::AllOf(::testing::HasSubstr("60 processing units, 3 chips"),
                                           ::testing::HasSubstr("got 2 with 48 units")));
  }
}

TEST(RramTest, SignedEncodingsAndProtectedSlicesTakeTheirCells) {
  const auto bits = [](const RramOptions& options) {
    return RramModel(hyflexpim(), EstimateMode::kPhysical, options).effective_cell_bits();
  };
  // A weight of 8 bits: four slices of 2 bits; a protected one takes two cells of 1 bit.
  EXPECT_DOUBLE_EQ(bits({.slc_slices = 0}), 8.0 / 4);
  EXPECT_DOUBLE_EQ(bits({.slc_slices = 1}), 8.0 / 5);
  EXPECT_DOUBLE_EQ(bits({.slc_slices = 2}), 8.0 / 6);
  EXPECT_DOUBLE_EQ(bits({.slc_slices = 4}), 8.0 / 8);
  EXPECT_DOUBLE_EQ(bits({.slc_frac = 1, .slc_slices = 1}), 8.0 / 8);
  // Half of the weights in 8 cells, half in 5.
  EXPECT_DOUBLE_EQ(bits({.slc_frac = 0.5, .slc_slices = 1}), 8.0 / 6.5);
  EXPECT_DOUBLE_EQ(bits({.cell_copies = 2}), 8.0 / 8);
  EXPECT_DOUBLE_EQ(bits({.slc_slices = 1, .cell_copies = 2}), 8.0 / 10);
  EXPECT_THROW(bits({.slc_slices = 5}), ConfigError);

  const RramModel plain(hyflexpim(), EstimateMode::kPhysical, {});
  const RramModel pairs(hyflexpim(), EstimateMode::kPhysical, {.cell_copies = 2});
  EXPECT_EQ(plain.array_tasks(64, 32), 1);
  EXPECT_EQ(pairs.array_tasks(64, 32), 2);
  // 12,288 arrays a unit: 32 x 128 two-bit-cell weights in each array fill one, pairs of cells two.
  Workload full = one_linear(32 * 12288, 64);
  EXPECT_EQ(chips(0).price(full, Phase::kDecode).num_chips, 1);
  full.decode.front().count = 24;
  EXPECT_EQ(plain.price(full, Phase::kDecode).num_chips, 1);
  EXPECT_EQ(pairs.price(full, Phase::kDecode).num_chips, 2);
  EXPECT_NEAR(pairs.price(full, Phase::kDecode).energy_pj.total() /
                  plain.price(full, Phase::kDecode).energy_pj.total(),
              2, 1e-9);
}

TEST(RramTest, EveryMatrixHasWholeArraysSoThatAllOfThemWorkAtOnce) {
  // A million matrices of one array each (64 x 16, a third of its cells): a chip has 24 x 24 x 512 =
  // 294,912 arrays, so four chips hold them.
  Workload many = one_linear(16, 64);
  many.decode.front().count = 1'000'000;
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0.2});
  const PhaseCost cost = rram.price(many, Phase::kDecode);
  EXPECT_EQ(cost.num_chips, 4);
  EXPECT_DOUBLE_EQ(cost.time_ns.part("gemm"), 800);
  // 1,000,000 / 512 modules, rounded up.
  const double module_w = 22.33659 / 24 - 0.512 / 3 * (1 - 0.5652 / 0.78125);
  EXPECT_NEAR(cost.energy_pj.total() / (1954 * 800 * module_w * 1e3), 1, 1e-9);
}

// One block that holds 8 key-value heads of 128: 2048 B a token with elements of one byte.
Workload caching(std::int64_t context) {
  Workload workload = one_linear(32, 64);
  workload.context = context;
  workload.decode.push_back(testing::other(OperatorKind::kScore, "s", 0, 1, context, 128, 8));
  workload.decode.push_back(testing::other(OperatorKind::kAttend, "a", 0, 1, 128, context, 8));
  return workload;
}

TEST(RramTest, ChipsHaveRoomForKeysAndValuesInTheirDigitalModules) {
  // A unit: 8 modules of 256 arrays of 1024 x 1024 bits, 268,435,456 B, 131,072 tokens; a chip has 24.
  const std::int64_t chip_tokens = 24 * 131'072;
  const auto num_chips = [](std::int64_t context, std::optional<std::int64_t> kv_bytes) {
    const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.kv_bytes = kv_bytes});
    return rram.price(caching(context), Phase::kDecode).num_chips;
  };
  EXPECT_EQ(num_chips(chip_tokens, {}), 1);
  EXPECT_EQ(num_chips(chip_tokens + 1, {}), 2);
  EXPECT_EQ(num_chips(chip_tokens / 2, 2), 1);
  EXPECT_EQ(num_chips(chip_tokens / 2 + 1, 2), 2);
  EXPECT_EQ(RramModel(hyflexpim(), EstimateMode::kReference, {})
                .price(caching(chip_tokens + 1), Phase::kDecode)
                .num_chips,
            1)
      << "the publication does not count this room";
  EXPECT_THROW(chips(1).price(caching(chip_tokens + 1), Phase::kDecode), ConfigError);
  EXPECT_EQ(chips(0).price(caching(1000), Phase::kDecode).memory_bytes, 2048 * 1000);

  // The modules multiply bytes, so elements of two bytes take two passes.
  const auto attention_ns = [](std::optional<std::int64_t> kv_bytes) {
    const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.kv_bytes = kv_bytes});
    return rram.price(caching(1000), Phase::kDecode).time_ns.part("attention");
  };
  EXPECT_DOUBLE_EQ(attention_ns(1), attention_ns({}));
  EXPECT_DOUBLE_EQ(attention_ns(2), 2 * attention_ns({}));
}

TEST(RramTest, MoreChipsNeverMakeAVectorSlower) {
  // Attention gains by more units, and each chip that the blocks spread over adds a hop of 4096 / 128
  // ns; with few cached tokens the hops outweigh the gain.
  for (const std::int64_t context : {1, 100, 10'000}) {
    Workload workload = blocks_of(std::vector<std::int64_t>(60, 4096));
    workload.context = context;
    for (std::int64_t layer = 0; layer < 60; ++layer) {
      const auto place = workload.decode.begin() + 2 * layer;
      workload.decode.insert(place,
                             testing::other(OperatorKind::kScore, "s", layer, 1, context, 128, 32));
    }
    double latency_ns = chips(3).price(workload, Phase::kDecode).latency_ns;
    for (std::int64_t num_chips = 4; num_chips < 80; ++num_chips) {
      const PhaseCost cost = chips(num_chips).price(workload, Phase::kDecode);
      EXPECT_LE(cost.latency_ns, latency_ns) << context << " " << num_chips;
      EXPECT_EQ(cost.num_chips, num_chips);
      latency_ns = cost.latency_ns;
    }
  }
  const PhaseCost cost =
      chips(9).price(blocks_of(std::vector<std::int64_t>(60, 4096)), Phase::kDecode);
  EXPECT_NEAR(cost.latency_ns, 60 * (800 + 24) + 2 * 4096 / 128.0, 1e-6) << "as on three chips";
  EXPECT_THAT(cost.notes, ::testing::Contains(::testing::HasSubstr("over 3 of the 9 chips")));
}

TEST(RramTest, ABatchFillsThePipelineUntilTheSlowestStageLimits) {
  Workload workload = one_linear(32, 64);
  workload.num_layers = 10;
  workload.decode.clear();
  for (int layer = 0; layer < 10; ++layer) {
    workload.decode.push_back(testing::linear("l" + std::to_string(layer), layer, "", 1, 32, 64));
  }
  const RramModel rram(hyflexpim(), EstimateMode::kPhysical, {.slc_frac = 0});
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
  EXPECT_THROW(RramModel(preset, EstimateMode::kPhysical, {}), ConfigError);
}

}  // namespace
}  // namespace lowbank::pim
