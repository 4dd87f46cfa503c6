#include "pim/gpu_kernels.h"

#include <cmath>

#include <gtest/gtest.h>

#include "pim/gpu.h"
#include "pim/preset.h"

namespace lowbank::pim {
namespace {

const SystemPreset& h100() {
  static const SystemPreset preset = load_preset("gpu-h100");
  return preset;
}

TEST(AttentionShapeTest, ScoresAreCountedAsByHand) {
  // Three new tokens after two cached ones read 3 + 4 + 5 keys.
  AttentionShape shape = {.head_dim = 8, .queries = 3, .cached = 2};
  EXPECT_EQ(shape.num_scores(), 12);
  shape.window = 2;  // 2 + 2 + 2
  EXPECT_EQ(shape.num_scores(), 6);
  shape = {.head_dim = 8, .queries = 4, .window = 2};  // 1 + 2 + 2 + 2
  EXPECT_EQ(shape.num_scores(), 7);
  shape = {.head_dim = 8, .queries = 4, .is_causal = false};
  EXPECT_EQ(shape.num_scores(), 16);
  shape = {.head_dim = 8, .queries = 4, .window = 9};
  EXPECT_EQ(shape.num_scores(), 10);
}

TEST(AttentionShapeTest, KeysAndValuesMoveOnceAGroup) {
  // 2 sequences of 3 new and 1 cached token, 4 heads of 8 in 2 groups, 2 B a value: queries and
  // results 2 x (2 x 3 x 8 x 4) x 2 B = 768 B, keys and values 2 x (2 x 4 x 8 x 2) x 2 B = 512 B,
  // and new ones copied: read and written, 2 x (2 x 3 x 8 x 2) x 4 B = 768 B.
  AttentionShape shape = {.batch = 2,
                          .query_heads = 4,
                          .kv_heads = 2,
                          .head_dim = 8,
                          .queries = 3,
                          .cached = 1,
                          .writes_cache = false};
  EXPECT_EQ(shape.moved_bytes(), 768 + 512);
  shape.writes_cache = true;
  EXPECT_EQ(shape.moved_bytes(), 768 + 512 + 768);
  shape.kv_heads = 4;  // no groups: twice the keys
  EXPECT_EQ(shape.moved_bytes(), 768 + 1024 + 1536);
}

// FlashAttention-3 under vLLM and SGLang, 16 heads of 128 over a prompt of 1,024 tokens: 32.5 us
// were measured. Three kernels over the whole square took 64.1 us here.
TEST(PromptAttentionTest, SixteenHeadsOver1024TokensTakeWhatWasMeasured) {
  const AttentionShape shape = {
      .query_heads = 16, .kv_heads = 16, .head_dim = 128, .queries = 1024};
  EXPECT_NEAR(PromptAttention(h100()).seconds(shape) * 1e6, 32.5, 0.25 * 32.5);
}

TEST(PromptAttentionTest, CausalityHalvesLongPromptsAndAWindowBoundsThem) {
  const PromptAttention attention(h100());
  AttentionShape shape = {.query_heads = 32, .kv_heads = 8, .head_dim = 128, .queries = 32768};
  const double causal = attention.seconds(shape);
  shape.is_causal = false;
  EXPECT_NEAR(attention.seconds(shape) / causal, 2, 0.1);
  shape.is_causal = true;
  shape.window = 4096;  // 4096 of 16384 keys on average
  EXPECT_NEAR(attention.seconds(shape) / causal, 0.25, 0.05);
  shape.window = 0;
  // At the end of a long cache a block of queries reads all of it.
  shape = {.query_heads = 32, .kv_heads = 8, .head_dim = 128, .queries = 1024, .cached = 31744};
  EXPECT_NEAR(attention.seconds(shape) / causal, 2.0 / 32, 0.01);
}

TEST(PromptAttentionTest, TimesGrowWithEverySizeAndStayFinite) {
  const PromptAttention attention(h100());
  for (const double window : {0.0, 300.0}) {
    double before = 0;
    for (double queries = 1; queries < 1e13; queries = std::ceil(queries * 1.3)) {
      const double seconds = attention.seconds({.batch = 3,
                                                .query_heads = 16,
                                                .kv_heads = 4,
                                                .head_dim = 64,
                                                .queries = queries,
                                                .window = window});
      EXPECT_TRUE(std::isfinite(seconds));
      EXPECT_GE(seconds, before) << queries;
      before = seconds;
    }
  }
}

TEST(DecodeAttentionTest, ALargeBatchStreamsItsKeysAtTheMemorysPace) {
  // 128 sequences of 8 groups and 8,192 keys of 128: 4.3 GB of keys and values.
  const AttentionShape shape = {
      .batch = 128, .query_heads = 32, .kv_heads = 8, .head_dim = 128, .cached = 8191};
  const double bytes = 128.0 * 8 * 8192 * 128 * 2 * 2;
  const double pace = bytes / DecodeAttention(h100()).seconds(shape);
  EXPECT_LT(pace, 3.352e12);
  EXPECT_GT(pace, 0.7 * 3.352e12);
}

TEST(DecodeAttentionTest, AGroupReadsItsKeysOnceAndLongCachesAreSplitOverTheCores) {
  const DecodeAttention attention(h100());
  const auto seconds = [&](double kv_heads, double cached) {
    return attention.seconds(
        {.batch = 64, .query_heads = 32, .kv_heads = kv_heads, .head_dim = 128, .cached = cached});
  };
  EXPECT_NEAR(seconds(8, 8191) / seconds(32, 8191), 0.25, 0.05);
  DecodeAttention alone = attention;
  alone.most_splits = alone.most_splits_alone = 1;
  const AttentionShape one = {.query_heads = 8, .kv_heads = 2, .head_dim = 128, .cached = 131071};
  EXPECT_GT(alone.seconds(one), 5 * attention.seconds(one));
  double before = 0;
  for (double keys = 1; keys < 1e12; keys = std::ceil(keys * 1.07)) {
    const double now = seconds(8, keys - 1);
    EXPECT_GE(now, before) << keys;
    before = now;
  }
}

// NCCL, H100 x 8: 34.6 MB in 206 us. The published rule multiplies a ring's time by log2(8): 641 us.
TEST(AllReduceTest, EightH100SumThirtyFourMegabytesAsWasMeasured) {
  EXPECT_NEAR(AllReduceTimes(h100()).seconds(34.6e6, 8) * 1e6, 206, 0.12 * 206);
  const GpuModel reference(h100(), EstimateMode::kReference);
  EXPECT_GT(reference.all_reduce(34.6e6, 8).latency_ns * 1e-3, 600);
}

// A ring sends 2 x 7 / 8 of the bytes from each of eight GPUs: 1.75 MB of a megabyte, at 80 pJ each,
// and reads and writes them at 28.72 pJ.
TEST(AllReduceTest, EveryByteThatIsSentCostsTheLinksEnergy) {
  const GpuCost cost = GpuModel(h100(), EstimateMode::kPhysical).all_reduce(1e6, 8);
  EXPECT_DOUBLE_EQ(cost.link_pj, 1.75e6 * 80);
  EXPECT_DOUBLE_EQ(cost.dram_pj, 2 * 1.75e6 * 28.72);
  EXPECT_EQ(cost.named().energy_pj.part("link"), cost.link_pj);
}

TEST(AllReduceTest, TimesGrowWithTheBytesAndLargeMessagesReachTheLinks) {
  for (const char* const name : {"gpu-a100", "gpu-h100", "gpu-h200", "gpu-b200"}) {
    const AllReduceTimes times(load_preset(name));
    for (const double num_gpus : {2.0, 4.0, 8.0, 64.0}) {
      double before = 0;
      for (double bytes = 1; bytes < 1e12; bytes *= 1.2) {
        const double seconds = times.seconds(bytes, num_gpus);
        EXPECT_GE(seconds, before) << name << " " << bytes << " " << num_gpus;
        before = seconds;
      }
    }
    const double rate = AllReduceTimes::sent_bytes(1e10, 8) / times.seconds(1e10, 8);
    EXPECT_GT(rate, 0.6 * times.bytes_per_s) << name;
    EXPECT_LT(rate, 1.25 * times.bytes_per_s) << name;  // switches add up
  }
}

// SGLang on A100, 512 sequences of 32 states of 128 x 128 in 2 B: 1.07 GB are read and written.
TEST(StateUpdateTest, AStepReadsAndWritesEveryStateOnce) {
  const StateUpdateTimes times(h100());
  const double bytes = 2.0 * 256 * 32 * 128 * 128 * 4;  // vLLM, 256 sequences, f32: 363.9 us
  EXPECT_NEAR(times.seconds(256 * 32, 128, 128, 4) * 1e6, 363.9, 0.05 * 363.9);
  EXPECT_LT(bytes / times.seconds(256 * 32, 128, 128, 4), 3.352e12);
}

}  // namespace
}  // namespace lowbank::pim
