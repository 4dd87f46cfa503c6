#include "pim/gpu_kernel_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;

// Decode steps of a made-up GPU that follows the rule exactly.
std::vector<TimedKernel> exact_steps(const DecodeAttention& rule) {
  std::vector<TimedKernel> kernels;
  std::uint64_t shape = 0;
  for (const double batch : {1, 8, 64, 256}) {
    for (const double kv_heads : {1, 8, 32}) {
      for (double cached = 127; cached < 60000; cached = 4 * cached + 3) {
        TimedKernel kernel;
        kernel.kind = "decode_attention";
        kernel.shape_hash = shape++;
        kernel.attention = {.batch = batch,
                            .query_heads = 32,
                            .kv_heads = kv_heads,
                            .head_dim = 128,
                            .cached = cached};
        kernel.time_s = rule.seconds(kernel.attention);
        kernels.push_back(kernel);
      }
    }
  }
  return kernels;
}

TEST(GpuKernelFitTest, TheTimesOfAGpuThatFollowsTheRuleAreFoundAgain) {
  const SystemPreset start = load_preset("gpu-h100");
  DecodeAttention rule(start);
  rule.launch_us = 4;
  rule.memory_frac = 0.6;
  const KernelFit fit = fit_kernels(start, exact_steps(rule), "made-up.csv");
  ASSERT_EQ(fit.kinds.size(), 1u);
  EXPECT_TRUE(fit.kinds[0].is_fitted);
  EXPECT_LT(fit.kinds[0].held_out.median_frac, 0.03);
  EXPECT_NEAR(fit.preset.value("decode_attention_memory_frac"), 0.6, 0.03);
  for (const auto& constant : fit.preset.constants) {
    if (constant.key != "decode_attention_memory_frac") continue;
    EXPECT_THAT(constant.source, HasSubstr("made-up.csv"));
    EXPECT_THAT(constant.uncertain, HasSubstr("held out"));
  }
  const SystemPreset again = preset_from_json(preset_to_json(fit.preset), "again", "again.json");
  EXPECT_EQ(again.value("decode_attention_launch_us"),
            fit.preset.value("decode_attention_launch_us"));
  // Other kinds keep what they had.
  EXPECT_EQ(fit.preset.value("attention_launch_us"), start.value("attention_launch_us"));
}

TEST(GpuKernelFitTest, TablesAreKnownByTheirColumns) {
  const auto table = [](const char* text) {
    const CsvTable csv = CsvTable::parse(text, "t.csv", {"gpu"});
    return std::pair(kernel_table_of(csv), read_timed_kernels(csv));
  };
  const auto [attention, steps] = table(
      "gpu,phase,batch,query_heads,kv_heads,head_dim,query_tokens,cached_tokens,window,kv_dtype\n"
      "H100,decode,2,32,8,128,1,4095,0,fp8\n");
  EXPECT_EQ(attention, KernelTable::kAttention);
  EXPECT_EQ(steps[0]->kind, "decode_attention");
  EXPECT_EQ(steps[0]->attention.kv_bytes, 1);
  EXPECT_EQ(timed_kernel_s(load_preset("gpu-h100"), *steps[0]),
            DecodeAttention(load_preset("gpu-h100")).seconds(steps[0]->attention));
  const auto [sums, messages] = table(
      "gpu,interconnect,collective,num_gpus,bytes,kind\n"
      "H100,nvlink_switch,all_reduce,8,34600000,nccl\nH100,nvlink_switch,all_gather,8,1,nccl\n");
  EXPECT_EQ(sums, KernelTable::kAllReduce);
  EXPECT_NEAR(timed_kernel_s(load_preset("gpu-h100"), *messages[0]) * 1e6, 206, 25);
  EXPECT_FALSE(messages[1]);  // no rule is for it
  EXPECT_EQ(table("gpu,kind,m,n,bytes_read,bytes_written\nA100,silu,1,2,8,4\n").first,
            KernelTable::kElementwise);
  EXPECT_EQ(table("gpu,kind,m,n,k,dtype\nA100,matmul,1,2,8,f16\n").first, KernelTable::kProducts);
  EXPECT_THROW(table("gpu,kind,m,n,bytes_read,bytes_written\nA100,fft,1,2,8,4\n"), ConfigError);
}

// What the presets state is what a fit to the measured kernels gives on shapes that it has not seen.
TEST(GpuKernelFitTest, ThePresetsAreTheFitsToTheMeasuredKernels) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no measured figures: set LOWBANK_SHARED_DATA";
  for (const auto& [file, kind, median, p90] :
       {std::tuple("attention_measured.csv", "prompt_attention", 0.09, 0.27),
        {"attention_measured.csv", "decode_attention", 0.07, 0.30},
        {"allreduce_measured.csv", "all_reduce nvlink_switch", 0.12, 0.60},
        {"scan_measured.csv", "state_update", 0.05, 0.10}}) {
    std::vector<TimedKernel> kernels;
    for (auto& kernel : read_timed_kernels(CsvTable::read(folder + "/" + file, {"gpu"}))) {
      if (kernel && kernel->gpu == "H100" && kernel->kind == kind) kernels.push_back(*kernel);
    }
    const SystemPreset preset = load_preset("gpu-h100");
    const KernelFit fit = fit_kernels(preset, kernels, "measured.csv");
    ASSERT_EQ(fit.kinds.size(), 1u);
    EXPECT_LE(fit.kinds[0].held_out.median_frac, median) << kind;
    EXPECT_LE(fit.kinds[0].held_out.p90_frac, p90) << kind;
    for (const auto& constant : fit.preset.constants) {
      const double stated = preset.value(constant.key);
      EXPECT_NEAR(constant.value, stated, 0.05 * stated + 1e-12) << constant.key;
    }
  }
}

}  // namespace
}  // namespace lowbank::pim
