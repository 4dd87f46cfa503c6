#include "pim/break_even.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pim/reshape.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using testing::sample_workload;
using testing::SampleShape;

TEST(SignCourseTest, FindsEachChangeToTheVeryNumber) {
  // Positive in [1, 4], [18, 777] and from 100000 on.
  const auto f = [](std::int64_t x) {
    return (x <= 4 || (x >= 18 && x <= 777) || x >= 100000) ? 1.0 : -1.0;
  };
  std::map<std::int64_t, int> asked;
  const SignCourse course = sign_course(
      [&](std::int64_t x) {
        ++asked[x];
        return f(x);
      },
      1, 1 << 20);
  EXPECT_TRUE(course.starts_positive);
  ASSERT_EQ(course.crossings.size(), 4u);
  const std::int64_t places[] = {5, 18, 778, 100000};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(course.crossings[i].at, places[i]);
    EXPECT_EQ(course.crossings[i].is_positive, i % 2 == 1);
  }
  EXPECT_LT(asked.size(), 200u);
  EXPECT_EQ(asked.begin()->first, 1);
  EXPECT_EQ(asked.rbegin()->first, 1 << 20);
}

TEST(SignCourseTest, ZeroIsNotPositiveAndOneNumberIsARange) {
  EXPECT_TRUE(sign_course([](std::int64_t) { return 0.0; }, 1, 100).never());
  EXPECT_TRUE(sign_course([](std::int64_t) { return 1.0; }, 1, 1).always());
}

TEST(BreakEvenTest, EveryNumberOnEachSideOfACrossingHasItsSign) {
  const SampleShape shape = {.num_layers = 2,
                             .hidden = 1024,
                             .feed_forward = 2816,
                             .heads = 16,
                             .vocabulary = 32000,
                             .context = 256};
  const Workload workload = sample_workload(shape);
  const auto gpu = make_system("gpu-a100", SystemOptions{});
  const auto rram = make_system("rram-hyflexpim", SystemOptions{});
  const auto comparisons = system_break_even(*gpu, *rram, workload, Phase::kDecode);
  ASSERT_EQ(comparisons.size(), 2u);
  EXPECT_EQ(axis_name(comparisons[0].axis), "batch");
  EXPECT_EQ(axis_name(comparisons[1].axis), "context");
  std::size_t num_crossings = 0;
  for (const BreakEven& comparison : comparisons) {
    EXPECT_TRUE(comparison.differs);
    const auto gain_at = [&](std::int64_t at, bool is_energy) {
      const Workload here = comparison.axis == SweepAxis::kBatch
                                ? reshape_workload(workload, at, workload.context)
                                : reshape_workload(workload, workload.batch, at);
      const PhaseCost base = gpu->price(here, Phase::kDecode);
      const PhaseCost other = rram->price(here, Phase::kDecode);
      return is_energy ? base.energy_pj.total() - other.energy_pj.total()
                       : base.latency_ns - other.latency_ns;
    };
    for (const bool is_energy : {false, true}) {
      const SignCourse& course = is_energy ? comparison.energy.value() : comparison.time;
      EXPECT_EQ(gain_at(1, is_energy) > 0, course.starts_positive);
      for (const Crossing& crossing : course.crossings) {
        EXPECT_EQ(gain_at(crossing.at, is_energy) > 0, crossing.is_positive);
        EXPECT_EQ(gain_at(crossing.at - 1, is_energy) > 0, !crossing.is_positive);
        ++num_crossings;
      }
    }
  }
  EXPECT_GE(num_crossings, 1u);
}

TEST(BreakEvenTest, TheSameMachineNeverDiffers) {
  const Workload workload = sample_workload();
  const auto gpu = make_system("gpu-a100", SystemOptions{});
  const auto pim = make_system("pimba-a100", SystemOptions{});
  for (const BreakEven& one : system_break_even(*gpu, *pim, workload, Phase::kPrefill)) {
    EXPECT_FALSE(one.differs);
    EXPECT_TRUE(one.time.never() && one.energy.value().never());
  }
  EXPECT_TRUE(system_break_even(*gpu, *pim, workload, Phase::kDecode)[0].differs);
}

TEST(BreakEvenTest, OperatorsOfEqualBlocksStandForOneAnother) {
  for (const std::int64_t rank : {0, 9}) {
    const auto distinct =
        distinct_operators(sample_workload({.num_layers = 5, .rank = rank}).decode);
    std::vector<std::string> names;
    for (const auto& op : distinct) {
      names.push_back(op.name);
      const bool is_attention = op.products.front().kind != OperatorKind::kLinear;
      const bool is_head = op.name == "lm_head";
      EXPECT_EQ(op.products.size(), rank > 0 && !is_attention && !is_head ? 2u : 1u) << op.name;
    }
    EXPECT_THAT(names,
                ::testing::ElementsAre("model.layers.*.self_attn.q_proj", "model.layers.*.score",
                                       "model.layers.*.attend", "model.layers.*.mlp.gate_proj",
                                       "model.layers.*.mlp.down_proj", "lm_head"));
    EXPECT_EQ(distinct[0].num_equal, 4 * 5);  // q, k, v and o are as large
    EXPECT_EQ(distinct.back().num_equal, 1);
  }
}

TEST(BreakEvenTest, SmallRanksPayOnLargeLayersAndFullRanksDoNot) {
  const SampleShape dense = {
      .num_layers = 1, .hidden = 8192, .feed_forward = 28672, .heads = 64, .context = 128};
  SampleShape factored = dense;
  factored.rank = 1000;
  const auto gpu = make_system("gpu-h100", SystemOptions{});
  for (const auto& shape : {dense, factored}) {
    const Workload workload = sample_workload(shape);
    for (const auto& op : distinct_operators(workload.decode)) {
      if (!op.name.ends_with("gate_proj")) continue;
      const BreakEven ranks = rank_break_even(*gpu, workload, Phase::kDecode, op);
      EXPECT_EQ(ranks.high, 8192);
      for (const SignCourse* course : {&ranks.time, &ranks.energy.value()}) {
        EXPECT_TRUE(course->starts_positive);
        ASSERT_FALSE(course->crossings.empty());
        EXPECT_FALSE(course->crossings.back().is_positive);
        // Where the factors are as large as the layer: 8192 x 28672 / (8192 + 28672) = 6371.
        EXPECT_GT(course->crossings.back().at, 5000);
        EXPECT_LE(course->crossings.back().at, 6400);
      }
    }
  }
}

}  // namespace
}  // namespace lowbank::pim
