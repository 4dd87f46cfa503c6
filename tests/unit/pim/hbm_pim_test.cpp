#include "pim/hbm_pim.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "pim/workload.h"

namespace lowbank::pim {
namespace {

const SystemPreset& hbm_pim() {
  static const SystemPreset preset = load_preset("hbm-pim-a100");
  return preset;
}

SystemPreset with(SystemPreset preset, const std::string& key, double value) {
  for (auto& constant : preset.constants) {
    if (constant.key == key) constant.value = value;
  }
  return preset;
}

TEST(HbmPimTest, OneRowAsComputedByHand) {
  // 16 operators of head size 16 (one block of 16 rows) and context 32 fill 16 banks once.
  const PimCall call = {.kind = PimKind::kAttend, .num_op = 16, .head_dim = 16, .state_dim = 32};
  const PimCounts counts = HbmPimModel(hbm_pim(), EstimateMode::kReference).count(call);
  // Barrier at 1, ACT4 at 2, 32, 62, 92, first COMP 18 later (four register writes at 4 cycles and
  // 2), 63 more COMPs at 4, PRECHARGE 16 after the last at 378; one cycle more in all.
  EXPECT_EQ(counts.cycles, 2 + 3 * 30 + 18 + 63 * 4 + 16 + 1);
  EXPECT_EQ(counts.num_activations, 16);
  EXPECT_EQ(counts.num_computes, 64);
  EXPECT_EQ(counts.num_transfers, 16 + 8 * 8 + 1);
}

TEST(HbmPimTest, PhysicalModeKeepsNanosecondsAndPaysForRefresh) {
  const HbmPimModel physical(hbm_pim(), EstimateMode::kPhysical);
  const HbmPimModel reference(hbm_pim(), EstimateMode::kReference);
  const PimCall one = {.kind = PimKind::kAttend, .num_op = 16, .head_dim = 16, .state_dim = 32};
  // At 1512 MHz: FAW 30 ns -> 46 cycles, RCD 14 ns -> 22, WR 16 ns -> 25; the COMPs stay at 4.
  EXPECT_EQ(physical.count(one).cycles, 2 + 3 * 46 + 22 + 63 * 4 + 25 + 1);

  const PimCall many = {
      .kind = PimKind::kAttend, .num_op = 1024, .head_dim = 128, .state_dim = 2048};
  const HbmPimModel same_clock(with(hbm_pim(), "clock_mhz", 1000), EstimateMode::kPhysical);
  const HbmPimModel same_clock_reference(with(hbm_pim(), "clock_mhz", 1000),
                                         EstimateMode::kReference);
  const double slower = static_cast<double>(same_clock.count(many).cycles) /
                        static_cast<double>(same_clock_reference.count(many).cycles);
  EXPECT_GT(slower, 1.05);  // 350 of 3900 cycles, rounded to whole rows
  EXPECT_LT(slower, 1.20);
}

TEST(HbmPimTest, AnIncompleteLastRoundIsDroppedByTheReferenceOnly) {
  // 1280 banks: 1296 pairs are one round and a bit.
  const PimCall call = {.kind = PimKind::kScore, .num_op = 1296, .head_dim = 16, .state_dim = 32};
  EXPECT_EQ(HbmPimModel(hbm_pim(), EstimateMode::kReference).count(call).num_computes, 80 * 64);
  EXPECT_EQ(HbmPimModel(hbm_pim(), EstimateMode::kPhysical).count(call).num_computes, 81 * 64);
}

TEST(HbmPimTest, CallsTheReferenceHasNoValueForAreRefusedInItsModeOnly) {
  const PimCall call = {.kind = PimKind::kScore, .num_op = 3, .head_dim = 16, .state_dim = 32};
  EXPECT_THROW(HbmPimModel(hbm_pim(), EstimateMode::kReference).count(call), ConfigError);
  EXPECT_EQ(HbmPimModel(hbm_pim(), EstimateMode::kPhysical).count(call).num_computes, 64);
}

TEST(HbmPimTest, MoreContextNeverCostsLess) {
  for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    const HbmPimModel pim(hbm_pim(), mode);
    double before = 0;
    for (std::int64_t context = 32; context < 100000; context = context * 5 / 4) {
      const double now =
          pim.cost({.kind = PimKind::kScore, .num_op = 64, .head_dim = 64, .state_dim = context})
              .latency_ns;
      EXPECT_GE(now, before) << context;
      before = now;
    }
  }
}

TEST(HbmPimTest, ImpossibleTimingsAndOverflowsAreConfigErrors) {
  EXPECT_THROW(HbmPimModel(with(hbm_pim(), "nREFI", 400), EstimateMode::kPhysical), ConfigError);
  EXPECT_THROW(HbmPimModel(with(hbm_pim(), "element_bytes", 64), EstimateMode::kPhysical),
               ConfigError);
  EXPECT_THROW(HbmPimModel(hbm_pim(), EstimateMode::kPhysical)
                   .count({.kind = PimKind::kScore,
                           .num_op = kMaxDimension,
                           .head_dim = kMaxDimension,
                           .state_dim = kMaxDimension}),
               ConfigError);
}

TEST(HbmPimTest, CommandsOfTheirOwnTakeLongerThanHiddenOnes) {
  const PimCall call = {
      .kind = PimKind::kStateUpdate, .num_op = 640, .head_dim = 128, .state_dim = 128};
  for (const auto mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    const PimCounts hidden = HbmPimModel(hbm_pim(), mode).count(call);
    const PimCounts apart = HbmPimModel(with(hbm_pim(), "hides_transfers", 0), mode).count(call);
    EXPECT_GT(apart.cycles, hidden.cycles);
    EXPECT_EQ(apart.num_transfers, hidden.num_transfers);
    EXPECT_EQ(apart.num_computes, hidden.num_computes);
  }
}

TEST(HbmPimTest, AMillionTokensTakeMilliseconds) {
  const HbmPimModel pim(hbm_pim(), EstimateMode::kPhysical);
  const auto start = std::chrono::steady_clock::now();
  const PimCounts counts =
      pim.count({.kind = PimKind::kScore, .num_op = 1024, .head_dim = 128, .state_dim = 1'000'000});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 0.1);  // 0.1 ms on an idle core
  EXPECT_GT(counts.cycles, 90'000'000);
}

}  // namespace
}  // namespace lowbank::pim
