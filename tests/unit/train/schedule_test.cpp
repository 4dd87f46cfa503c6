#include "train/schedule.h"

#include <gtest/gtest.h>

namespace lowbank {
namespace {

TrainConfig schedule_config(const char* schedule) {
  TrainConfig config;
  config.steps = 13;
  config.warmup_steps = 3;
  config.learning_rate = 2.0;
  config.min_learning_rate_frac = 0.1;
  config.schedule = schedule;
  return config;
}

TEST(Schedule, WarmsUpInEqualPartsToThePeak) {
  for (const char* name : {"cosine", "linear", "constant"}) {
    const auto config = schedule_config(name);
    EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 2.0 / 3);
    EXPECT_DOUBLE_EQ(learning_rate_at(config, 1), 4.0 / 3);
    EXPECT_DOUBLE_EQ(learning_rate_at(config, 2), 2.0);
  }
}

TEST(Schedule, FallsToTheGivenPartOfThePeakAtTheLastStep) {
  EXPECT_NEAR(learning_rate_at(schedule_config("cosine"), 12), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate_at(schedule_config("linear"), 12), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule_config("constant"), 12), 2.0);
}

TEST(Schedule, IsHalfwayDownInTheMiddle) {
  EXPECT_NEAR(learning_rate_at(schedule_config("cosine"), 7), 1.1, 1e-12);
  EXPECT_NEAR(learning_rate_at(schedule_config("linear"), 7), 1.1, 1e-12);
  // A quarter of the way: 1/2 (1 + cos(pi / 4)) against 3/4.
  auto config = schedule_config("cosine");
  config.steps = 11;
  config.min_learning_rate_frac = 0;
  EXPECT_NEAR(learning_rate_at(config, 4), 2.0 * 0.85355339059, 1e-9);
  config.schedule = "linear";
  EXPECT_NEAR(learning_rate_at(config, 4), 1.5, 1e-12);
}

TEST(Schedule, StartsAtThePeakWithoutWarmUp) {
  auto config = schedule_config("cosine");
  config.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 2.0);
  config.steps = 1;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 2.0);
}

}  // namespace
}  // namespace lowbank
