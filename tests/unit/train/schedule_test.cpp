#include "train/schedule.h"

#include <gtest/gtest.h>

namespace lowbank {
namespace {

constexpr std::int64_t kSteps = 13;

LearningRate rate_of(Schedule schedule) {
  return {.peak = 2.0, .min_frac = 0.1, .schedule = schedule, .warmup_steps = 3};
}

TEST(Schedule, WarmsUpInEqualPartsToThePeak) {
  for (const auto schedule : {Schedule::kCosine, Schedule::kLinear, Schedule::kConstant}) {
    const auto rate = rate_of(schedule);
    EXPECT_DOUBLE_EQ(learning_rate_at(rate, kSteps, 0), 2.0 / 3);
    EXPECT_DOUBLE_EQ(learning_rate_at(rate, kSteps, 1), 4.0 / 3);
    EXPECT_DOUBLE_EQ(learning_rate_at(rate, kSteps, 2), 2.0);
  }
}

TEST(Schedule, FallsToTheGivenPartOfThePeakAtTheLastStep) {
  EXPECT_NEAR(learning_rate_at(rate_of(Schedule::kCosine), kSteps, 12), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate_at(rate_of(Schedule::kLinear), kSteps, 12), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate_of(Schedule::kConstant), kSteps, 12), 2.0);
}

TEST(Schedule, IsHalfwayDownInTheMiddle) {
  EXPECT_NEAR(learning_rate_at(rate_of(Schedule::kCosine), kSteps, 7), 1.1, 1e-12);
  EXPECT_NEAR(learning_rate_at(rate_of(Schedule::kLinear), kSteps, 7), 1.1, 1e-12);
  // A quarter of the way: 1/2 (1 + cos(pi / 4)) against 3/4.
  auto rate = rate_of(Schedule::kCosine);
  rate.min_frac = 0;
  EXPECT_NEAR(learning_rate_at(rate, 11, 4), 2.0 * 0.85355339059, 1e-9);
  rate.schedule = Schedule::kLinear;
  EXPECT_NEAR(learning_rate_at(rate, 11, 4), 1.5, 1e-12);
}

TEST(Schedule, StartsAtThePeakWithoutWarmUp) {
  auto rate = rate_of(Schedule::kCosine);
  rate.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, kSteps, 0), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 1, 0), 2.0);
}

}  // namespace
}  // namespace lowbank
