#include "pim/cpu_system.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "cpu_sample.h"
#include "pim/cpu_fit.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;
using testing::linear;
using testing::other;
using testing::sample_workload;
using testing::SampleShape;
using Json = nlohmann::ordered_json;
using testing::cpu_json;
using testing::kCpuConstants;

SystemPreset cpu_preset(const Json& document = cpu_json()) {
  return preset_from_json(document.dump(), "cpu", "cpu.json");
}

double cpu_ns(const std::vector<Operator>& operators) {
  Workload workload;
  workload.decode = operators;
  return make_cpu_system(cpu_preset())->price(workload, Phase::kDecode).latency_ns;
}

TEST(CpuSystemTest, AProductOfFewRowsStreamsItsWeights) {
  const double weight_bytes = 4.0 * 2000 * 1000;  // an eighth of it stays in the cache
  EXPECT_NEAR(cpu_ns({linear("l", 0, "", 1, 2000, 1000)}),
              1000 + weight_bytes * (0.125 * 0.01 + 0.875 * 0.1) + 0.005 * 2000 * 1000, 1e-3);
  // A model that fits into the cache is read from there.
  EXPECT_NEAR(cpu_ns({linear("l", 0, "", 1, 200, 100)}),
              1000 + 4.0 * 200 * 100 * 0.01 + 0.005 * 200 * 100, 1e-6);
}

TEST(CpuSystemTest, FromNineRowsOnAProductIsABlockedOne) {
  const auto many = [](std::int64_t rows) {
    return 2000 + 0.02 * static_cast<double>(rows) * 200 * 100 + 0.2 * 4 * 200 * 100 +
           0.03 * 4 * static_cast<double>(rows) * (200 + 100);
  };
  EXPECT_NEAR(cpu_ns({linear("l", 0, "", 9, 200, 100)}), many(9), 1e-6);
  EXPECT_LT(cpu_ns({linear("l", 0, "", 8, 200, 100)}), many(8));
}

TEST(CpuSystemTest, ProductsOfAGroupAreOneCallWhereRowsAreFew) {
  const auto group_ns = [](const std::string& group, std::int64_t rows) {
    return cpu_ns({linear("q", 0, group, rows, 20, 10), linear("k", 0, group, rows, 20, 10),
                   linear("v", 0, group, rows, 20, 10)});
  };
  EXPECT_NEAR(group_ns("", 1) - group_ns("qkv", 1), 2 * 1000, 1e-6);
  EXPECT_NEAR(group_ns("", 16), group_ns("qkv", 16), 1e-6);
}

TEST(CpuSystemTest, AttentionOfAllHeadsIsOneKernel) {
  const std::vector<Operator> prompt = {other(OperatorKind::kScore, "s", 0, 16, 16, 8, 4),
                                        other(OperatorKind::kSoftmax, "x", 0, 16, 16, 0, 4),
                                        other(OperatorKind::kAttend, "a", 0, 16, 8, 16, 4)};
  EXPECT_NEAR(cpu_ns(prompt), 0.04 * 2 * 16 * 16 * 8 * 4 + 0.5 * 16 * 16 * 4 + 30 * 16 * 4, 1e-6);
}

TEST(CpuSystemTest, CategoriesSumToTheLatencyAndEnergyIsNotKnown) {
  const auto system = make_system({cpu_preset()}, SystemOptions{});
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const PhaseCost cost = system->price(sample_workload({.batch = 2}), phase);
    EXPECT_NEAR(cost.time_ns.total() / cost.latency_ns, 1.0, 1e-12);
    EXPECT_FALSE(cost.knows_energy());
  }
}

TEST(CpuSystemTest, MoreNeverTakesLess) {
  const auto system = make_system({cpu_preset()}, SystemOptions{});
  double before[2] = {0, 0};
  // Over the edge of the cache too.
  for (const std::int64_t hidden : {64, 128, 192, 256, 384, 512, 1024}) {
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      double& last = before[phase == Phase::kDecode ? 1 : 0];
      const double ns = system->price(sample_workload({.hidden = hidden}), phase).latency_ns;
      EXPECT_GT(ns, last) << hidden;
      last = ns;
    }
  }
}

TEST(CpuSystemTest, StepsOfADecodeSumToThePriceOfEach) {
  const auto system = make_system({cpu_preset()}, SystemOptions{});
  const Workload workload = sample_workload({.hidden = 256, .context = 40});
  double sum_ns = 0;
  for (std::int64_t context = 41; context <= 90; ++context) {
    sum_ns += system->price_steps(workload, context, context).latency_ns;
  }
  EXPECT_NEAR(system->price_steps(workload, 41, 90).latency_ns / sum_ns, 1.0, 1e-9);
}

TEST(CpuSystemTest, TheErrorOfWholeModelsAndTheCalibratedTypeAreTold) {
  const auto system = make_system({cpu_preset()}, SystemOptions{});
  EXPECT_THAT(system->notes(),
              ::testing::Contains(HasSubstr("whole models: median error 6 %, largest 11 %")));
  Workload workload = sample_workload();
  EXPECT_THAT(system->price(workload, Phase::kDecode).notes, ::testing::IsEmpty());
  workload.weight_bits = 16;
  EXPECT_THAT(system->price(workload, Phase::kDecode).notes,
              ::testing::Contains(HasSubstr("calibrated with elements of 32 bits")));
}

TEST(CpuSystemTest, ABadPresetIsRefusedByKey) {
  const auto error_of = [](const Json& document) -> std::string {
    try {
      cpu_preset(document);
      return "";
    } catch (const ConfigError& e) {
      return e.what();
    }
  };
  Json document = cpu_json();
  document["constants"].erase("scan_ns_per_mac");
  EXPECT_THAT(error_of(document), HasSubstr("constants: key 'scan_ns_per_mac' is missing"));
  document = cpu_json();
  document["constants"]["cache_bytes"]["value"] = 0;
  EXPECT_THAT(error_of(document), HasSubstr("must be > 0"));
  document = cpu_json();
  document["constants"]["linear_call_ns"]["value"] = -1;
  EXPECT_THAT(error_of(document), HasSubstr("must be in [0, 1e18]"));
  document = cpu_json();
  document["constants"]["linear_call_ns"]["unit"] = "us";
  EXPECT_THAT(error_of(document), HasSubstr("unit: must be 'ns'"));
}

// Samples of a machine that keeps to the rule.
std::vector<CpuSample> cpu_samples() {
  std::vector<CpuSample> samples;
  std::map<std::string, int> counts;
  const auto add = [&](const char* kernel, std::vector<Operator> operators, double cached_frac) {
    CpuSample sample{.kernel = kernel,
                     .name = "",
                     .operators = std::move(operators),
                     .cached_frac = cached_frac,
                     .time_ns = 0,
                     .is_held_out = counts[kernel]++ % 3 == 2};
    sample.time_ns = cpu_sample_ns(cpu_preset(), sample);
    samples.push_back(std::move(sample));
  };
  const auto streams = [](OperatorKind kind, std::int64_t m, std::int64_t n, std::int64_t k = 0) {
    Operator op = other(kind, "x", 0, m, n, k);
    op.activation_bytes = 8.0 * static_cast<double>(m * n);
    return op;
  };
  for (const std::int64_t size : {32, 64, 200, 512, 1000, 2048}) {
    for (const std::int64_t rows : {1, 2, 4, 16, 100, 512}) {
      for (const double cached_frac : {0.0, 1.0}) {
        add(rows <= 8 ? "few_rows" : "linear", {linear("l", 0, "", rows, size, 2 * size)},
            cached_frac);
      }
      add("norm", {streams(OperatorKind::kNorm, rows, size)}, 1);
      add("activation", {streams(OperatorKind::kActivation, rows, size)}, 1);
      add("conv",
          {streams(OperatorKind::kConv, rows, size, 4),
           streams(OperatorKind::kActivation, rows, size)},
          1);
      add("scan", {streams(OperatorKind::kScan, rows, size, 16)}, 1);
    }
    for (const std::int64_t head_dim : {32, 64, 128}) {
      for (const std::int64_t queries : {std::int64_t{1}, size}) {
        add(queries == 1 ? "decode_attention" : "attention",
            {other(OperatorKind::kScore, "s", 0, queries, size, head_dim, 4),
             other(OperatorKind::kSoftmax, "x", 0, queries, size, 0, 4),
             other(OperatorKind::kAttend, "a", 0, queries, head_dim, size, 4)},
            1);
      }
    }
  }
  return samples;
}

TEST(CpuFitTest, AMachineThatKeepsToTheRuleGivesItsConstantsBack) {
  const CpuFit fit = fit_cpu(cpu_samples(), 1e6, 4, "about", "source");
  for (const auto& constant : kCpuConstants) {
    if (std::string(constant.key).starts_with("model_error")) continue;
    EXPECT_NEAR(fit.preset.value(constant.key) / constant.value, 1.0, 1e-4) << constant.key;
  }
  for (const auto& error : fit.errors) {
    EXPECT_GT(error.num_held_out, 0) << error.kernel;
    EXPECT_LT(error.held_out_max_frac, 1e-4) << error.kernel;
  }
  // What is written can be read.
  const SystemPreset read = preset_from_json(preset_to_json(fit.preset), "cpu", "cpu.json");
  EXPECT_EQ(read.constants.size(), std::size(kCpuConstants));
}

TEST(CpuFitTest, AFewKernelsThatAreFarOffDoNotMoveTheRest) {
  auto samples = cpu_samples();
  std::size_t num_linears = 0;
  for (auto& sample : samples) {
    if (sample.kernel == "linear" && num_linears++ % 7 == 0) sample.time_ns *= 4;
  }
  const CpuFit fit = fit_cpu(samples, 1e6, 4, "about", "source");
  EXPECT_NEAR(fit.preset.value("linear_ns_per_mac") / 0.02, 1.0, 0.02);
}

TEST(CpuFitTest, NoConstantIsNegative) {
  auto samples = cpu_samples();
  // Shorter than what the activation in it takes.
  for (auto& sample : samples) {
    if (sample.kernel == "conv") sample.time_ns = 1;
  }
  const CpuFit fit = fit_cpu(samples, 1e6, 4, "about", "source");
  EXPECT_EQ(fit.preset.value("conv_call_ns"), 0);
  EXPECT_EQ(fit.preset.value("conv_ns_per_mac"), 0);
}

TEST(CpuFitTest, ErrorsOfWholeModelsAreTheirMedianAndLargest) {
  SystemPreset preset = cpu_preset();
  set_model_errors(preset, {0.3, 0.1, 0.05}, "source");
  EXPECT_EQ(preset.value("model_error_median_frac"), 0.1);
  EXPECT_EQ(preset.value("model_error_max_frac"), 0.3);
}

TEST(CpuFitTest, ATimeThatIsNoneIsRefused) {
  auto samples = cpu_samples();
  samples[3].time_ns = 0;
  EXPECT_THROW(fit_cpu(samples, 1e6, 4, "about", "source"), std::invalid_argument);
}

}  // namespace
}  // namespace lowbank::pim
