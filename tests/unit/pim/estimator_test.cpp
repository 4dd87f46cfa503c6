#include "pim/estimator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "pim_samples.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using testing::sample_workload;
using testing::SampleShape;

const std::vector<std::string> kSystems = {"gpu-a100", "gpu-h100", "hbm-pim-a100", "pimba-a100",
                                           "rram-hyflexpim"};

PhaseCost price(const std::string& system, const SampleShape& shape, Phase phase,
                EstimateMode mode = EstimateMode::kPhysical) {
  return make_system(system, mode, 0.2)->price(sample_workload(shape), phase);
}

TEST(EstimatorTest, CategoriesSumToTheLatencyOnEverySystem) {
  for (const auto& system : kSystems) {
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      for (const std::int64_t rank : {0, 20}) {
        const PhaseCost cost = price(system, {.batch = 2, .rank = rank}, phase);
        EXPECT_NEAR(cost.time_ns.total() / cost.latency_ns, 1.0, 1e-9) << system;
        EXPECT_GT(cost.energy_pj.total(), 0) << system;
        for (const auto& [component, energy_pj] : cost.energy_pj.parts()) {
          EXPECT_GE(energy_pj, 0) << system << " " << component;
        }
      }
    }
  }
}

TEST(EstimatorTest, TheOperatorsOfAPhaseSumToItsCost) {
  const Workload whole = sample_workload();
  for (const auto& name : kSystems) {
    const auto system = make_system(name, EstimateMode::kPhysical, 0.2);
    if (name.starts_with("rram")) continue;  // its stages overlap; rram_test has its sums
    double latency_ns = 0;
    double energy_pj = 0;
    for (const Operator& op : whole.decode) {
      Workload one = whole;
      one.decode = {op};
      const PhaseCost cost = system->price(one, Phase::kDecode);
      latency_ns += cost.latency_ns;
      energy_pj += cost.energy_pj.total();
    }
    const PhaseCost cost = system->price(whole, Phase::kDecode);
    EXPECT_NEAR(cost.latency_ns / latency_ns, 1.0, 1e-9) << name;
    EXPECT_NEAR(cost.energy_pj.total() / energy_pj, 1.0, 1e-9) << name;
  }
}

TEST(EstimatorTest, RramEnergyIsTheSumOfItsBlocks) {
  const Workload whole = sample_workload({.num_layers = 24});
  const auto system = make_system("rram-hyflexpim", EstimateMode::kPhysical, 0.2);
  double energy_pj = 0;
  for (std::int64_t layer = -1; layer < 24; ++layer) {
    Workload one = whole;
    one.decode.clear();
    for (const Operator& op : whole.decode) {
      if (op.layer == layer) one.decode.push_back(op);
    }
    energy_pj += system->price(one, Phase::kDecode).energy_pj.total();
  }
  EXPECT_NEAR(system->price(whole, Phase::kDecode).energy_pj.total() / energy_pj, 1.0, 1e-9);
}

TEST(EstimatorTest, MoreTokensNeverTakeLess) {
  for (const auto& system : kSystems) {
    double prefill_ns = 0;
    double decode_ns = 0;
    for (const std::int64_t context : {16, 32, 100, 256, 1000, 4096}) {
      const double prefill = price(system, {.context = context}, Phase::kPrefill).latency_ns;
      const double decode = price(system, {.context = context}, Phase::kDecode).latency_ns;
      EXPECT_GE(prefill, prefill_ns) << system << " " << context;
      EXPECT_GE(decode, decode_ns) << system << " " << context;
      prefill_ns = prefill;
      decode_ns = decode;
    }
    double batch_ns = 0;
    for (const std::int64_t batch : {1, 2, 8, 64}) {
      const double decode = price(system, {.batch = batch}, Phase::kDecode).latency_ns;
      // GPU tiles are chosen by traffic, not by time, so a step may gain a little by chance.
      EXPECT_GE(decode, batch_ns * 0.99) << system << " " << batch;
      batch_ns = decode;
    }
  }
}

TEST(EstimatorTest, ABatchSharesTheWeightsOnAGpuAndNotOnAnalogArrays) {
  const SampleShape shape = {.hidden = 1024, .feed_forward = 4096, .heads = 8};
  const auto energy_per_token = [&](const std::string& system, std::int64_t batch) {
    SampleShape batched = shape;
    batched.batch = batch;
    return price(system, batched, Phase::kDecode).energy_pj.total() / static_cast<double>(batch);
  };
  EXPECT_LT(energy_per_token("gpu-a100", 32), energy_per_token("gpu-a100", 1) / 5);
  EXPECT_NEAR(energy_per_token("rram-hyflexpim", 32) / energy_per_token("rram-hyflexpim", 1), 1.0,
              1e-9);
}

TEST(EstimatorTest, AttentionInMemoryReplacesOnlyThatPartOfDecode) {
  const SampleShape shape = {
      .hidden = 1024, .feed_forward = 4096, .heads = 8, .batch = 64, .context = 2048};
  const PhaseCost gpu = price("gpu-a100", shape, Phase::kDecode);
  const PhaseCost pim = price("hbm-pim-a100", shape, Phase::kDecode);
  EXPECT_DOUBLE_EQ(gpu.time_ns.part("gemm"), pim.time_ns.part("gemm"));
  EXPECT_DOUBLE_EQ(gpu.time_ns.part("others"), pim.time_ns.part("others"));
  EXPECT_LT(pim.time_ns.part("attention"), gpu.time_ns.part("attention"));
  EXPECT_GT(pim.energy_pj.part("pim_compute"), 0);
  const PhaseCost gpu_prefill = price("gpu-a100", shape, Phase::kPrefill);
  const PhaseCost pim_prefill = price("hbm-pim-a100", shape, Phase::kPrefill);
  EXPECT_DOUBLE_EQ(gpu_prefill.latency_ns, pim_prefill.latency_ns);
}

TEST(EstimatorTest, AnotherMemoryIsAFileAndNoCode) {
  // One channel of 16 banks a device, longer bursts, slower clock: the shape of GDDR6 or LPDDR.
  Json memory = read_json(std::string(LOWBANK_SOURCE_DIR) + "/configs/pim/memory-a100.json");
  const auto set = [&](const char* key, double value) {
    memory["constants"][key]["value"] = value;
  };
  set("num_channels", 16);
  set("pseudo_channels_per_channel", 1);
  set("clock_mhz", 1000);
  set("nBL", 8);
  set("nCCDL", 8);
  set("nRFC", 180);
  const testing::TempFolder folder;
  const Json machine = {{"kind", "hbm-pim"},
                        {"about", "test"},
                        {"gpu", "gpu-a100"},
                        {"memory", folder.file("memory.json", memory.dump())},
                        {"unit", "unit-pimba"}};
  const std::string file = folder.file("machine.json", machine.dump());
  const SampleShape shape = {.hidden = 1024, .heads = 8, .batch = 64, .context = 2048};
  const PhaseCost slow = price(file, shape, Phase::kDecode);
  const PhaseCost fast = price("pimba-a100", shape, Phase::kDecode);
  // A fifth of the banks at two thirds of the clock and half the columns a cycle.
  const double ratio = slow.time_ns.part("attention") / fast.time_ns.part("attention");
  EXPECT_GT(ratio, 7);
  EXPECT_LT(ratio, 16);
  EXPECT_DOUBLE_EQ(slow.time_ns.part("gemm"), fast.time_ns.part("gemm"));
}

TEST(EstimatorTest, APartIsNoSystem) {
  try {
    make_system("memory-a100", EstimateMode::kPhysical, 0.2);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), HasSubstr("is a part of machines"));
  }
}

TEST(EstimatorTest, FactorsAtBreakEvenRankSaveNothingOnAGpuAndTheRowSaysSo) {
  SampleShape dense = {.hidden = 1024, .feed_forward = 1024, .heads = 8};
  SampleShape factored = dense;
  factored.rank = 512;  // 1024 * 1024 / 2048
  const PhaseCost before = price("gpu-a100", dense, Phase::kDecode);
  const PhaseCost after = price("gpu-a100", factored, Phase::kDecode);
  EXPECT_GT(after.latency_ns, before.latency_ns);
  EXPECT_DOUBLE_EQ(after.weight_bytes, before.weight_bytes);
  EXPECT_THAT(after.notes, ::testing::Contains(HasSubstr("factoring saves nothing")));
  EXPECT_THAT(before.notes, ::testing::IsEmpty());
  factored.rank = 256;
  EXPECT_THAT(price("gpu-a100", factored, Phase::kDecode).notes, ::testing::IsEmpty());
}

TEST(EstimatorTest, WeightBytesAreThoseOfTheSystemsOwnFormat) {
  const Workload workload = sample_workload();  // 32-bit weights
  double stored = 0;
  for (const Operator& op : workload.decode) stored += op.weight_bytes;
  EXPECT_DOUBLE_EQ(price("gpu-a100", {}, Phase::kDecode).weight_bytes, stored / 2);
  EXPECT_DOUBLE_EQ(price("rram-hyflexpim", {}, Phase::kDecode).weight_bytes, stored / 4);
}

TEST(EstimatorTest, FactoredSizeComparesFactorsWithTheLayersTheyReplace) {
  const FactoredSize size = factored_size(sample_workload({.num_layers = 1, .rank = 10}).decode);
  EXPECT_EQ(size.num_linears, 8);
  EXPECT_EQ(size.num_factored, 7);
  EXPECT_EQ(size.dense_weights, 4 * 64 * 64 + 3 * 64 * 172);
  EXPECT_EQ(size.factored_weights, 10 * (4 * 128 + 3 * 236));
}

}  // namespace
}  // namespace lowbank
