#include "pim/estimator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "cpu_sample.h"
#include "pim/experiment.h"
#include "pim/reshape.h"
#include "pim_samples.h"
#include "temp_folder.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using testing::sample_workload;
using testing::SampleShape;

const std::vector<std::string> kSystems = {"gpu-a100", "gpu-h100", "hbm-pim-a100", "pimba-a100",
                                           "rram-hyflexpim"};

PhaseCost price(const std::string& system, const SampleShape& shape, Phase phase,
                EstimateMode mode = EstimateMode::kPhysical) {
  return make_system(system, {.mode = mode})->price(sample_workload(shape), phase);
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
    // Attention as one kernel is no operator of the list.
    const auto system = make_system(name, {.fuses_attention = false});
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
  const auto system = make_system("rram-hyflexpim", SystemOptions{});
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

TEST(EstimatorTest, StepsCostTheSumOfEachContext) {
  for (const auto& name : kSystems) {
    for (const std::int64_t rank : {0, 20}) {
      const Workload workload = sample_workload({.batch = 3, .context = 20, .rank = rank});
      const auto system = make_system(name, SystemOptions{});
      double latency_ns = 0;
      double energy_pj = 0;
      Breakdown parts;
      for (std::int64_t context = 25; context <= 171; ++context) {
        const PhaseCost one = system->price(
            sample_workload({.batch = 3, .context = context, .rank = rank}), Phase::kDecode);
        latency_ns += one.latency_ns;
        energy_pj += one.energy_pj.total();
        parts.add(one.time_ns);
      }
      const PhaseCost sum = system->price_steps(workload, 25, 171);
      EXPECT_NEAR(sum.latency_ns / latency_ns, 1.0, 1e-9) << name;
      EXPECT_NEAR(sum.energy_pj.total() / energy_pj, 1.0, 1e-9) << name;
      // RRAM stages overlap: how a step's time is shared between them bends with the context.
      const double tolerance = name.starts_with("rram") ? 1e-4 : 1e-9;
      for (const auto& [category, time_ns] : parts.parts()) {
        EXPECT_NEAR(sum.time_ns.part(category) / time_ns, 1.0, tolerance) << name << category;
      }
    }
  }
}

TEST(EstimatorTest, AGenerationIsItsPromptAndItsSteps) {
  const Workload workload = sample_workload({.batch = 2, .context = 40});
  for (const auto& name : kSystems) {
    const auto system = make_system(name, SystemOptions{});
    const PhaseCost prompt = system->price(workload, Phase::kPrefill);
    const GenerationCost one = price_generation(*system, workload, 1);
    EXPECT_EQ(one.total.latency_ns, prompt.latency_ns) << name;
    EXPECT_EQ(one.later_tokens_ns, 0) << name;
    const GenerationCost many = price_generation(*system, workload, 33);
    EXPECT_EQ(many.first_token_ns, prompt.latency_ns) << name;
    EXPECT_DOUBLE_EQ(many.later_tokens_ns, system->price_steps(workload, 41, 72).latency_ns);
    EXPECT_DOUBLE_EQ(many.total.latency_ns, many.first_token_ns + many.later_tokens_ns) << name;
    EXPECT_NEAR(many.total.time_ns.total() / many.total.latency_ns, 1.0, 1e-9) << name;
    EXPECT_GE(many.last_token_ns * 32, many.later_tokens_ns * (1 - 1e-12)) << name;
  }
}

TEST(EstimatorTest, AGenerationReadsTheWeightsInThePromptAndInEveryStep) {
  // Llama-2-7B's linears and norms, in int8 on RRAM: 6.6 GB a pass and 40 passes. The sample's embedding
  // and norms tell no bytes.
  const SampleShape shape = {.num_layers = 32,
                             .hidden = 4096,
                             .feed_forward = 11008,
                             .heads = 32,
                             .vocabulary = 32000,
                             .context = 512};
  const double weights = 32.0 * (4 * 4096.0 * 4096 + 3 * 4096.0 * 11008) + 32000 * 4096.0;
  const Workload workload = sample_workload(shape);
  const auto generation_bytes = [&](const std::string& system) {
    return price_generation(*make_system(system, SystemOptions{}), workload, 40).total.weight_bytes;
  };
  EXPECT_NEAR(generation_bytes("rram-hyflexpim") / (40 * weights), 1, 1e-12);
  EXPECT_NEAR(generation_bytes("rram-hyflexpim") * 1e-9, 264.3, 0.05);
  EXPECT_NEAR(generation_bytes("gpu-a100") / (40 * 2 * weights), 1, 1e-12);
  const lowbank::testing::TempFolder folder;
  // A CPU reads float32, as the workload stores it.
  EXPECT_NEAR(
      generation_bytes(folder.file("cpu.json", testing::cpu_json().dump())) / (40 * 4 * weights), 1,
      1e-12);
}

TEST(EstimatorTest, AGenerationNeedsBothPhasesAndTokens) {
  const auto system = make_system("gpu-a100", SystemOptions{});
  Workload workload = sample_workload();
  EXPECT_THROW(price_generation(*system, workload, 0), ConfigError);
  EXPECT_THROW(price_generation(*system, workload, std::int64_t{1} << 31), ConfigError);
  workload.prefill.clear();
  EXPECT_THROW(price_generation(*system, workload, 4), ConfigError);
}

TEST(EstimatorTest, MoreGpusAreFasterOnLargeModelsAndAllOfThemCount) {
  // Llama-2-70B's shapes with full attention.
  const SampleShape shape = {.num_layers = 80,
                             .hidden = 8192,
                             .feed_forward = 28672,
                             .heads = 64,
                             .vocabulary = 32000,
                             .batch = 16,
                             .context = 1024};
  const Workload workload = sample_workload(shape);
  for (const auto* const name : {"gpu-h100", "pimba-h100"}) {
    PhaseCost fewer = make_system(name, SystemOptions{})->price(workload, Phase::kDecode);
    for (const std::int64_t num_gpus : {2, 8}) {
      const PhaseCost cost =
          make_system(name, {.num_gpus = num_gpus})->price(workload, Phase::kDecode);
      EXPECT_LT(cost.latency_ns, fewer.latency_ns) << name << " " << num_gpus;
      EXPECT_GT(cost.time_ns.part("transfer"), 0) << name;
      EXPECT_EQ(cost.num_chips, num_gpus);
      EXPECT_NEAR(cost.weight_bytes / fewer.weight_bytes, 1.0, 1e-9);
      EXPECT_EQ(cost.memory_bytes, fewer.memory_bytes);
      fewer = cost;
    }
  }
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
  // The GPU's one kernel has the softmax in it, which is the GPU's task where its memory computes.
  const PhaseCost unfused = make_system("gpu-a100", {.fuses_attention = false})
                                ->price(sample_workload(shape), Phase::kDecode);
  EXPECT_DOUBLE_EQ(unfused.time_ns.part("others"), pim.time_ns.part("others"));
  EXPECT_LT(gpu.time_ns.part("others"), pim.time_ns.part("others"));
  EXPECT_LT(pim.time_ns.part("attention"), gpu.time_ns.part("attention"));
  EXPECT_GT(pim.energy_pj.part("pim_compute"), 0);
  const PhaseCost gpu_prefill = price("gpu-a100", shape, Phase::kPrefill);
  const PhaseCost pim_prefill = price("hbm-pim-a100", shape, Phase::kPrefill);
  EXPECT_DOUBLE_EQ(gpu_prefill.latency_ns, pim_prefill.latency_ns);
}

// Four heads of 1024 / 4 over prompts of 4096 tokens: the scores of a layer take 2 B each, and no
// other part of the memory changes.
TEST(EstimatorTest, APromptsScoresTakeMemoryOnlyWhereAttentionIsNotOneKernel) {
  const SampleShape shape = {.hidden = 1024, .heads = 4, .batch = 3, .context = 4096};
  const Workload workload = sample_workload(shape);
  const auto on = [&](const SystemOptions& options, Phase phase = Phase::kPrefill) {
    return make_system("gpu-a100", options)->price(workload, phase);
  };
  const PhaseCost fused = on({});
  const PhaseCost unfused = on({.fuses_attention = false});
  const PhaseCost reference = on({.mode = EstimateMode::kReference});
  const double scores = 3.0 * 4 * 4096 * 4096 * 2;
  EXPECT_DOUBLE_EQ(unfused.memory_bytes - fused.memory_bytes, scores);
  EXPECT_DOUBLE_EQ(reference.memory_bytes - fused.memory_bytes, scores);
  EXPECT_LT(fused.latency_ns, 0.7 * unfused.latency_ns);
  EXPECT_EQ(on({}, Phase::kDecode).memory_bytes,
            on({.fuses_attention = false}, Phase::kDecode).memory_bytes);
  const PhaseCost two = on({.num_gpus = 2, .fuses_attention = false});
  EXPECT_DOUBLE_EQ(two.memory_bytes, unfused.memory_bytes);
}

// Llama-3-8B has 32 layers of 32 heads of 128 (8 of keys and values). A prompt of 2^20 tokens:
// 32 x 32 x 4 x 128 x 2^40 / 2 = 2.9e17 operations of attention, 24 minutes at 200 TFLOP/s.
TEST(EstimatorTest, AMillionTokensOnAnA100TakeAQuarterOfAnHourOrTwoAndNotTwoHours) {
  Workload workload;
  workload.model = "llama-3-8b";
  workload.context = std::int64_t{1} << 20;
  workload.num_layers = 1;
  workload.weight_bits = 16;
  const std::int64_t n = workload.context;
  workload.prefill = {testing::other(OperatorKind::kScore, "s", 0, n, n, 128, 32),
                      testing::other(OperatorKind::kSoftmax, "p", 0, n, n, 0, 32),
                      testing::other(OperatorKind::kAttend, "a", 0, n, 128, n, 32)};
  workload.prefill[0].queries_per_cache = workload.prefill[2].queries_per_cache = 4;
  const double minutes =
      32 * make_system("gpu-a100", SystemOptions{})->price(workload, Phase::kPrefill).latency_ns /
      60e9;
  EXPECT_GT(minutes, 20);
  EXPECT_LT(minutes, 30);
}

// A GELU's two passes over 512 x 3072 values of 2 B are saved, a gated activation's three are not.
TEST(EstimatorTest, AnActivationOfOneInputEndsTheProductBeforeIt) {
  Workload workload;
  workload.context = 512;
  workload.num_layers = 1;
  workload.weight_bits = 16;
  const Operator linear = testing::other(OperatorKind::kLinear, "up", 0, 512, 3072, 768, 1);
  Operator activation = testing::other(OperatorKind::kActivation, "act", 0, 512, 3072, 0, 1);
  const auto at = [&](double passes, bool fuses) {
    activation.activation_bytes = passes * 512 * 3072 * 2;
    workload.prefill = {linear, activation};
    return make_system("gpu-a100", {.fuses_attention = fuses})->price(workload, Phase::kPrefill);
  };
  EXPECT_EQ(at(2, true).time_ns.part("others"), 0);
  EXPECT_GT(at(3, true).time_ns.part("others"), 0);
  EXPECT_DOUBLE_EQ(at(2, false).energy_pj.part("dram") - at(2, true).energy_pj.part("dram"),
                   2.0 * 512 * 3072 * 2 * 28.72);
}

TEST(EstimatorTest, AnEncodersPromptIsNotCausal) {
  Workload encoder;
  encoder.context = 32768;
  encoder.num_layers = 1;
  encoder.weight_bits = 16;
  const auto attention = [](const std::string& path) {
    return std::vector<Operator>{
        testing::other(OperatorKind::kScore, path + ".score", 0, 32768, 32768, 64, 16),
        testing::other(OperatorKind::kSoftmax, path + ".softmax", 0, 32768, 32768, 0, 16),
        testing::other(OperatorKind::kAttend, path + ".attend", 0, 32768, 64, 32768, 16)};
  };
  encoder.prefill = attention("bert.encoder.layer.0.attention.self");
  Workload decoder = encoder;
  decoder.prefill = attention("model.decoder.layers.0.self_attn");
  EXPECT_FALSE(encoder.is_causal());
  EXPECT_TRUE(decoder.is_causal());
  const auto gpu = make_system("gpu-h100", SystemOptions{});
  const double ratio = gpu->price(encoder, Phase::kPrefill).latency_ns /
                       gpu->price(decoder, Phase::kPrefill).latency_ns;
  EXPECT_NEAR(ratio, 2, 0.1);
}

// 55 W idle and 79 W awake on top: in a nanosecond 134 nJ, on each of two GPUs.
TEST(EstimatorTest, AGpuDrawsPowerBesideItsOperatorsInPhysicalMode) {
  const Workload workload = sample_workload();
  for (const std::int64_t num_gpus : {1, 2}) {
    const PhaseCost cost =
        make_system("gpu-a100", {.num_gpus = num_gpus})->price(workload, Phase::kDecode);
    const double watts =
        (cost.energy_pj.part("idle") + cost.energy_pj.part("active")) / cost.latency_ns * 1e-3;
    EXPECT_NEAR(watts, 134.0 * static_cast<double>(num_gpus), 1e-9);
    EXPECT_EQ(cost.accounting, EnergyAccounting::kTotal);
  }
  const PhaseCost reference =
      make_system("gpu-a100", {.mode = EstimateMode::kReference})->price(workload, Phase::kDecode);
  EXPECT_EQ(reference.energy_pj.part("idle"), 0);
  EXPECT_EQ(reference.accounting, EnergyAccounting::kDynamic);
  EXPECT_EQ(
      make_system("rram-hyflexpim", SystemOptions{})->price(workload, Phase::kDecode).accounting,
      EnergyAccounting::kTotal);
}

// Three sequences of 256 tokens: the head has 3 rows in place of 768.
TEST(EstimatorTest, APromptNeedsTheHeadForItsLastTokensOnly) {
  Workload all = sample_workload({.batch = 3, .context = 256});
  all.prefill.back().m = 3 * 256;  // as an export has it
  const Workload last = with_last_token_head(all);
  const Operator& head = last.prefill.back();
  EXPECT_EQ(head.kind, OperatorKind::kLinear);
  EXPECT_EQ(head.layer, -1);
  EXPECT_EQ(all.prefill.back().m, 3 * 256);
  EXPECT_EQ(head.m, 3);
  EXPECT_EQ(num_macs(all.prefill) - num_macs(last.prefill), (3 * 256 - 3) * head.n * head.k);
  EXPECT_EQ(last.decode.back().m, all.decode.back().m);
  // It can still be taken to other sizes.
  EXPECT_EQ(reshape_workload(last, 5, 512).prefill.back().m, 5);
  EXPECT_EQ(with_last_token_head(reshape_workload(all, 5, 512)).prefill.back().m, 5);
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
  const lowbank::testing::TempFolder folder;
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

TEST(EstimatorTest, AreaIsWhatTheUnitsAddToTheMemoryWhereAllOfItIsKnown) {
  std::vector<SystemPreset> presets = {
      combine_hbm_pim("whole", load_preset("gpu-a100"), load_preset("memory-a100"),
                      load_preset("unit-pipelined")),
      load_preset("gpu-a100")};
  const Workload workload = sample_workload();
  const auto unknown = make_system(presets, SystemOptions{});
  EXPECT_EQ(unknown->price(workload, Phase::kDecode).area_mm2, std::nullopt);
  EXPECT_THAT(unknown->notes(), ::testing::Contains(HasSubstr("add 32.4 % to each memory die")));
  EXPECT_THAT(make_system("pimba-a100", SystemOptions{})->notes(),
              ::testing::Contains(HasSubstr("area of the units is not known")));
  EXPECT_EQ(price("gpu-a100", {}, Phase::kDecode).area_mm2, std::nullopt);

  Constant die = presets[0].constants.front();
  die.key = "die_area_mm2";
  die.value = 100;
  presets[0].constants.push_back(die);
  const auto known = make_system(presets, {.num_gpus = 2});
  EXPECT_DOUBLE_EQ(*known->price(workload, Phase::kDecode).area_mm2, 2 * 5 * 8 * 100 * 0.324);
  EXPECT_THAT(known->notes(), ::testing::Contains(HasSubstr("what the units add")));
}

TEST(EstimatorTest, APartIsNoSystem) {
  try {
    make_system("memory-a100", SystemOptions{});
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

// A convolution or scan as the only operator of a decode step; 4-byte values.
Workload only(const Operator& op, std::int64_t batch) {
  Workload workload;
  workload.model = "one";
  workload.batch = batch;
  workload.context = 32;
  workload.decode = {op};
  return workload;
}

TEST(EstimatorTest, ScansAndConvolutionsCostTheirBytesWithTheStatesAtTheirOwnWidth) {
  const std::int64_t batch = 6, channels = 5120, states = 16;
  const SystemPreset preset = load_preset("gpu-a100");
  const auto system = make_system("gpu-a100", SystemOptions{});
  const auto expect_bytes = [&](const Operator& op, double bytes) {
    const PhaseCost cost = system->price(only(op, batch), Phase::kDecode);
    EXPECT_NEAR(cost.energy_pj.part("dram") / (bytes * preset.value("dram_pj_per_byte")), 1, 1e-9);
    const double us = bytes * preset.value("activation_us_per_byte") *
                          preset.value("elementwise_base_bytes_per_s") /
                          preset.value("memory_bytes_per_s") +
                      static_cast<double>(op.n) * preset.value("activation_us_per_column") +
                      preset.value("activation_launch_us");
    EXPECT_NEAR(cost.latency_ns / (us * 1e3), 1, 1e-9);
  };
  Operator scan = testing::other(OperatorKind::kScan, "scan", 0, batch, channels, states);
  const double scan_values = batch * (3 * channels + 2 * states) + channels * (states + 1);
  const double kept = 2.0 * batch * channels * states * 4;
  expect_bytes(scan, scan_values * 2 + kept);
  scan.weight_bytes = channels * (states + 1) * 4;
  scan.activation_bytes = batch * (3 * channels + 2 * states) * 4 + kept;
  expect_bytes(scan, scan_values * 2 + kept);
  scan.activation_bytes += 4000;  // told bytes count
  expect_bytes(scan, scan_values * 2 + kept + 2000);

  Operator conv = testing::other(OperatorKind::kConv, "conv", 0, batch, channels, 4);
  expect_bytes(conv, channels * (2 * (batch + batch * 3) + 4) * 2);
  conv.weight_bytes = 4 * 4 * channels;
  conv.activation_bytes = 4 * channels * 2 * (batch + batch * 3);
  expect_bytes(conv, channels * (2 * (batch + batch * 3) + 4) * 2);
}

TEST(EstimatorTest, QueryHeadsThatShareACacheReadItOnceOnAGpu) {
  const std::int64_t batch = 16, heads = 32, group = 8, context = 4000, head_dim = 128;
  Workload workload = only(
      testing::other(OperatorKind::kScore, "score", 0, 1, context, head_dim, batch * heads), batch);
  workload.context = context;
  const auto price_on = [&](const char* name, std::int64_t queries, EstimateMode mode) {
    Workload grouped = workload;
    grouped.decode[0].queries_per_cache = queries;
    return make_system(name, {.mode = mode})->price(grouped, Phase::kDecode);
  };
  const PhaseCost alone = price_on("gpu-a100", 1, EstimateMode::kPhysical);
  const PhaseCost shared = price_on("gpu-a100", group, EstimateMode::kPhysical);
  // Keys of 2 bytes, read per head or per group; queries and scores of every head.
  const double rows = batch * heads * (head_dim + context) * 2.0;
  const double keys = batch * heads * head_dim * context * 2.0;
  EXPECT_NEAR(shared.energy_pj.part("dram") / alone.energy_pj.part("dram"),
              (rows + keys / group) / (rows + keys), 1e-9);
  EXPECT_LT(shared.latency_ns, alone.latency_ns / 4);
  EXPECT_DOUBLE_EQ(shared.memory_bytes * group, alone.memory_bytes);
  const PhaseCost product =
      make_system("gpu-a100", SystemOptions{})
          ->price(only(testing::other(OperatorKind::kScore, "score", 0, group, context, head_dim,
                                      batch * heads / group),
                       batch),
                  Phase::kDecode);
  EXPECT_DOUBLE_EQ(shared.latency_ns, product.latency_ns);

  for (const auto& [name, mode] : {std::pair{"gpu-a100", EstimateMode::kReference},
                                   {"hbm-pim-a100", EstimateMode::kPhysical}}) {
    EXPECT_EQ(price_on(name, group, mode).latency_ns, price_on(name, 1, mode).latency_ns) << name;
    EXPECT_EQ(price_on(name, group, mode).energy_pj.parts(),
              price_on(name, 1, mode).energy_pj.parts())
        << name;
  }
}

TEST(EstimatorTest, StateUpdatesOfDecodeCostWhatTheyDoInTheExperiments) {
  // retnet-2.7b: 32 blocks of 10 heads, keys of 256, values of 512.
  const std::int64_t batch = 32;
  const Workload workload =
      only(testing::other(OperatorKind::kStateUpdate, "u", 0, 1, 512, 256, 10 * batch), batch);
  for (const auto& [name, experiment] :
       {std::pair{"gpu-a100", "GPU"}, {"hbm-pim-a100", "GPU+PIM"}, {"pimba-a100", "Pimba"}}) {
    for (const EstimateMode mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
      const auto expected = ExperimentSystem(experiment, "A100", mode)
                                .price({.model = "retnet-2.7b",
                                        .batch_size = batch,
                                        .system = experiment,
                                        .gpu = "A100",
                                        .num_gpus = 1,
                                        .input_tokens = 8,
                                        .output_tokens = 2})
                                .parts.at("state_update");
      const PhaseCost cost = make_system(name, {.mode = mode})->price(workload, Phase::kDecode);
      EXPECT_NEAR(cost.time_ns.part("state_update") * 32e-9 / expected.time_s, 1, 1e-9) << name;
      const double dynamic_pj =
          cost.energy_pj.total() - cost.energy_pj.part("idle") - cost.energy_pj.part("active");
      EXPECT_NEAR(dynamic_pj * 32 / (expected.memory_pj + expected.compute_pj), 1, 1e-9) << name;
    }
  }
}

TEST(EstimatorTest, StateUpdatesRunOnTheDigitalModulesOfRramAsScansOfTheirSizeDo) {
  const std::int64_t batch = 8, heads = 10;
  const auto system = make_system("rram-hyflexpim", SystemOptions{});
  const PhaseCost update = system->price(
      only(testing::other(OperatorKind::kStateUpdate, "u", 0, 1, 64, 128, heads * batch), batch),
      Phase::kDecode);
  const PhaseCost scan = system->price(
      only(testing::other(OperatorKind::kScan, "s", 0, batch, heads * 64, 128), batch),
      Phase::kDecode);
  EXPECT_DOUBLE_EQ(update.latency_ns, scan.latency_ns);
  EXPECT_DOUBLE_EQ(update.energy_pj.total(), scan.energy_pj.total());
  EXPECT_DOUBLE_EQ(update.time_ns.part("state_update"), update.latency_ns);
}

TEST(EstimatorTest, ScansRunInMemoryInDecodeAndARowSaysWhatThatLeavesOut) {
  Workload workload = only(testing::other(OperatorKind::kScan, "scan", 0, 64, 5120, 16), 64);
  workload.prefill = {testing::other(OperatorKind::kScan, "scan", 0, 64 * 32, 5120, 16)};
  const auto on = [&](const char* name, Phase phase, EstimateMode mode) {
    return make_system(name, {.mode = mode})->price(workload, phase);
  };
  const PhaseCost gpu = on("gpu-a100", Phase::kDecode, EstimateMode::kPhysical);
  const PhaseCost pim = on("hbm-pim-a100", Phase::kDecode, EstimateMode::kPhysical);
  EXPECT_GT(pim.energy_pj.part("pim_compute"), 0);
  EXPECT_THAT(pim.notes, ::testing::ElementsAre(HasSubstr("Mamba-1's decay")));
  EXPECT_THAT(gpu.notes, ::testing::ElementsAre(HasSubstr("no measurement")));
  for (const auto& [phase, mode] : {std::pair{Phase::kPrefill, EstimateMode::kPhysical},
                                    {Phase::kDecode, EstimateMode::kReference}}) {
    EXPECT_EQ(on("hbm-pim-a100", phase, mode).latency_ns, on("gpu-a100", phase, mode).latency_ns);
  }
}

TEST(EstimatorTest, NarrowCachesMoveFewerBytesAndMultiplyAtTheSameRate) {
  const std::int64_t count = 512, context = 4000, head_dim = 128;
  const Workload decode =
      only(testing::other(OperatorKind::kAttend, "attend", 0, 1, head_dim, context, count), 16);
  const auto on = [](const char* name, const Workload& workload, Phase phase, EstimateMode mode,
                     std::optional<std::int64_t> kv_bytes) {
    return make_system(name, {.mode = mode, .kv_bytes = kv_bytes})->price(workload, phase);
  };
  for (const EstimateMode mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    const PhaseCost own = on("gpu-a100", decode, Phase::kDecode, mode, std::nullopt);
    const PhaseCost narrow = on("gpu-a100", decode, Phase::kDecode, mode, 1);
    const double values = head_dim * context, rows = head_dim + context;
    EXPECT_NEAR(narrow.energy_pj.part("dram") / own.energy_pj.part("dram"),
                (values + 2 * rows) / (2 * values + 2 * rows), 1e-9);
    EXPECT_EQ(on("gpu-a100", decode, Phase::kDecode, mode, 2).latency_ns, own.latency_ns);
    EXPECT_DOUBLE_EQ(narrow.memory_bytes * 2, own.memory_bytes);

    // In memory: an 8-bit cache on the 16-bit unit takes what it does on the 8-bit one.
    EXPECT_EQ(on("hbm-pim-a100", decode, Phase::kDecode, mode, 1).latency_ns,
              on("pimba-a100", decode, Phase::kDecode, mode, std::nullopt).latency_ns);
    EXPECT_EQ(on("pimba-a100", decode, Phase::kDecode, mode, 2).latency_ns,
              on("hbm-pim-a100", decode, Phase::kDecode, mode, std::nullopt).latency_ns);
  }
  EXPECT_LT(on("gpu-a100", decode, Phase::kDecode, EstimateMode::kPhysical, 1).latency_ns,
            0.6 * on("gpu-a100", decode, Phase::kDecode, EstimateMode::kPhysical, {}).latency_ns);

  Workload prefill = decode;  // bound by its multiplications
  prefill.prefill = {testing::other(OperatorKind::kAttend, "a", 0, 8192, 8192, 8192, 4)};
  const double own_ns =
      on("gpu-a100", prefill, Phase::kPrefill, EstimateMode::kPhysical, {}).latency_ns;
  const double narrow_ns =
      on("gpu-a100", prefill, Phase::kPrefill, EstimateMode::kPhysical, 1).latency_ns;
  EXPECT_LE(narrow_ns, own_ns);
  EXPECT_GT(narrow_ns, 0.9 * own_ns);
}

TEST(EstimatorTest, NarrowStatesMoveFewerBytes) {
  const std::int64_t batch = 64;
  const Operator update =
      testing::other(OperatorKind::kStateUpdate, "update", 0, 1, 64, 128, 80 * batch);
  const Operator scan = testing::other(OperatorKind::kScan, "scan", 0, batch, 5120, 16);
  for (const auto& name : {"gpu-a100", "hbm-pim-a100"}) {
    for (const Operator& op : {update, scan}) {
      const auto at = [&](std::optional<std::int64_t> state_bytes) {
        return make_system(name, {.state_bytes = state_bytes})
            ->price(only(op, batch), Phase::kDecode);
      };
      EXPECT_LT(at(1).latency_ns, at(2).latency_ns) << name << op.name;
      EXPECT_DOUBLE_EQ(at(1).memory_bytes * 2, at(2).memory_bytes) << name << op.name;
      const bool is_float = op.name == "scan" && std::string(name) == "gpu-a100";
      EXPECT_EQ(at({}).latency_ns, at(is_float ? 4 : 2).latency_ns) << name << op.name;
    }
  }
}

TEST(EstimatorTest, FactoredSizeComparesFactorsWithTheLayersTheyReplace) {
  const FactoredSize size = factored_size(sample_workload({.num_layers = 1, .rank = 10}).decode);
  EXPECT_EQ(size.num_linears, 8);
  EXPECT_EQ(size.num_factored, 7);
  EXPECT_EQ(size.dense_weights, 4 * 64 * 64 + 3 * 64 * 172);
  EXPECT_EQ(size.factored_weights, 10 * (4 * 128 + 3 * 236));
}

TEST(EstimatorTest, TilesOfALayerRunSideBySideAndTheirWeightsCount) {
  const Workload workload =
      testing::tiled_workload({.in = 4096, .out = 2048, .tile = 256, .rank = 32});
  const FactoredSize size = factored_size(workload.decode);
  EXPECT_EQ(size.num_linears, 1);
  EXPECT_EQ(size.num_factored, 1);
  EXPECT_EQ(size.dense_weights, 4096 * 2048);
  EXPECT_EQ(size.factored_weights, 16 * 8 * 2 * 256 * 32);
  const GpuModel gpu(load_preset("gpu-a100"), EstimateMode::kPhysical);
  const PhaseCost cost = make_system("gpu-a100", SystemOptions{})->price(workload, Phase::kDecode);
  EXPECT_DOUBLE_EQ(cost.latency_ns,
                   gpu.linears({.m = 1, .n = 8 * 32, .k = 256, .count = 16}).latency_ns +
                       gpu.linears({.m = 1, .n = 256, .k = 16 * 32, .count = 8}).latency_ns);
  EXPECT_DOUBLE_EQ(cost.weight_bytes, 2 * size.factored_weights);

  // A layer of one tile is one factored at that rank.
  for (const EstimateMode mode : {EstimateMode::kPhysical, EstimateMode::kReference}) {
    const auto system = make_system("gpu-a100", {.mode = mode, .corrections = mode});
    const Workload one = testing::tiled_workload({.in = 512, .out = 512, .tile = 512, .rank = 64});
    Workload plain = one;
    for (Operator& op : plain.decode) {
      op.factored_as = "svd";
      op.tile = 0;
    }
    EXPECT_EQ(system->price(one, Phase::kDecode).latency_ns,
              system->price(plain, Phase::kDecode).latency_ns);
  }
}

TEST(EstimatorTest, WeightsOfAFormatAreReadAsTheyAre) {
  const std::int64_t in = 4096, out = 12288;
  Workload dense = only(testing::linear("layer", -1, "", 1, out, in), 1);  // 4 bytes a weight
  dense.num_params = out * in + 1000;
  Workload quantized = dense;
  quantized.decode[0].weight_format = "q4_0";
  quantized.decode[0].weight_bytes = 0.5625 * out * in;
  for (const auto* const name : {"gpu-a100", "hbm-pim-a100"}) {
    const auto system = make_system(name, SystemOptions{});
    const PhaseCost before = system->price(dense, Phase::kDecode);
    const PhaseCost after = system->price(quantized, Phase::kDecode);
    EXPECT_DOUBLE_EQ(after.weight_bytes, 0.5625 * out * in);
    EXPECT_DOUBLE_EQ(after.memory_bytes, 0.5625 * out * in + 2 * 1000);
    EXPECT_NEAR(after.energy_pj.part("dram") / before.energy_pj.part("dram"), 0.5625 / 2, 1e-3);
    EXPECT_LT(after.latency_ns, 0.7 * before.latency_ns);
    EXPECT_EQ(after.energy_pj.part("alu"), before.energy_pj.part("alu"));
    // Two GPUs hold and read a half each.
    const PhaseCost split = make_system(name, {.num_gpus = 2})->price(quantized, Phase::kDecode);
    EXPECT_DOUBLE_EQ(split.weight_bytes, after.weight_bytes);
  }
  const auto rram = make_system("rram-hyflexpim", SystemOptions{});
  const PhaseCost after = rram->price(quantized, Phase::kDecode);
  EXPECT_EQ(after.latency_ns, rram->price(dense, Phase::kDecode).latency_ns);
  EXPECT_DOUBLE_EQ(after.weight_bytes, in * out);  // int8
  EXPECT_DOUBLE_EQ(rram->price(dense, Phase::kDecode).weight_bytes, in * out);
  EXPECT_THAT(after.notes, ::testing::Contains(HasSubstr("weight formats")));
}

}  // namespace
}  // namespace lowbank::pim
