#include "pim/sensitivity.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using testing::sample_workload;

const ConstantEffect* effect_of(const Sensitivity& result, const std::string& key) {
  const auto found = std::find_if(result.effects.begin(), result.effects.end(),
                                  [&](const auto& each) { return each.constant.key == key; });
  return found == result.effects.end() ? nullptr : &*found;
}

Sensitivity of_decode(const std::string& name, std::int64_t output_tokens = 0) {
  const SystemOptions options;
  return constant_sensitivity(*make_system(name, options), options, sample_workload(),
                              Phase::kDecode, output_tokens, 0.2);
}

TEST(SensitivityTest, EnergiesOfAByteScaleTheirPartOfTheEnergy) {
  const PhaseCost cost =
      make_system("gpu-a100", SystemOptions{})->price(sample_workload(), Phase::kDecode);
  const Sensitivity result = of_decode("gpu-a100");
  const ConstantEffect* const dram = effect_of(result, "dram_pj_per_byte");
  ASSERT_NE(dram, nullptr);
  const double share = cost.energy_pj.part("dram") / cost.energy_pj.total();
  EXPECT_NEAR(dram->high_energy.value(), 1 + 0.2 * share, 1e-12);
  EXPECT_NEAR(dram->low_energy.value(), 1 - 0.2 * share, 1e-12);
  EXPECT_EQ(dram->high_time, 1);
  EXPECT_NEAR(dram->high_value, 1.2 * dram->constant.value, 1e-12);
  EXPECT_EQ(dram->preset, "gpu-a100");
}

TEST(SensitivityTest, ConstantsOfAllPartsAreThereAndMostOfTimeComesFirst) {
  for (const auto* const name : {"gpu-h100", "pimba-a100", "rram-hyflexpim"}) {
    for (const std::int64_t tokens : {0, 20}) {
      const Sensitivity result = of_decode(name, tokens);
      ASSERT_GE(result.effects.size(), 10u) << name;
      for (std::size_t i = 1; i < result.effects.size(); ++i) {
        EXPECT_LE(result.effects[i].time_swing(), result.effects[i - 1].time_swing());
      }
      for (const auto& effect : result.effects) {
        EXPECT_GT(effect.time_swing() + effect.energy_swing(), 0) << effect.constant.key;
      }
    }
  }
  const Sensitivity pimba = of_decode("pimba-a100");
  EXPECT_NE(effect_of(pimba, "clock_mhz"), nullptr);             // of the memory
  EXPECT_NE(effect_of(pimba, "gemm_launch_us"), nullptr);        // of the GPU
  EXPECT_EQ(effect_of(pimba, "hides_transfers"), nullptr);       // a switch
  EXPECT_EQ(effect_of(pimba, "update_comps_per_row"), nullptr);  // no state is updated
}

TEST(SensitivityTest, WholeNumbersStayWholeAndImpossibleMachinesAreNamed) {
  const Sensitivity result = of_decode("rram-hyflexpim");
  const ConstantEffect* const bits = effect_of(result, "activation_bits");
  ASSERT_NE(bits, nullptr);
  EXPECT_EQ(bits->low_value, 6);  // 8 x 0.8 = 6.4
  EXPECT_EQ(bits->high_value, 10);
  // Less power than the arrays, drivers and ADCs of a module take.
  EXPECT_THAT(result.refused, ::testing::Contains("analog_power_w_per_pu"));
}

TEST(SensitivityTest, ThePartMustBeAFraction) {
  const SystemOptions options;
  const auto system = make_system("gpu-a100", options);
  for (const double part : {0.0, 1.0, -0.2}) {
    EXPECT_THROW(constant_sensitivity(*system, options, sample_workload(), Phase::kDecode, 0, part),
                 ConfigError);
  }
}

}  // namespace
}  // namespace lowbank::pim
