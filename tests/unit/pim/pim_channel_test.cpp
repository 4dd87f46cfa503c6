#include "pim/pim_channel.h"

#include <random>

#include <gtest/gtest.h>

#include "pim/pim_schedule.h"
#include "plain_pim.h"

namespace lowbank::pim {
namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::int64_t roll(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }

 private:
  std::mt19937_64 engine_;
};

PimRow random_row(Dice& dice) {
  PimRow row;
  row.steps.push_back({.command = PimCommand::kBarrier});
  const std::int64_t num_groups = dice.roll(1, 4);
  for (std::int64_t g = 0; g < num_groups; ++g) {
    if (dice.roll(0, 3) == 0) {
      row.steps.push_back({.command = PimCommand::kWriteRegister,
                           .count = dice.roll(1, 5),
                           .stride = dice.roll(1, 4),
                           .gap = dice.roll(1, 3)});
    }
    row.steps.push_back({.command = PimCommand::kActivate,
                         .gap = dice.roll(1, 3),
                         .activate_gap = g == 0 ? 0 : dice.roll(1, 20)});
  }
  row.steps.push_back({.command = PimCommand::kCompute,
                       .count = dice.roll(1, 24),
                       .stride = dice.roll(1, 5),
                       .activate_gap = dice.roll(1, 15)});
  row.steps.push_back({.command = PimCommand::kPrecharge,
                       .gap = dice.roll(1, 20),
                       .activate_gap = dice.roll(1, 60)});
  row.next_gap = dice.roll(1, 40);
  // What the barrier asks for may be more or less than the row takes.
  row.length = dice.roll(10, 300);
  return row;
}

std::vector<PimSection> random_plan(Dice& dice, std::int64_t num_rows) {
  std::vector<PimSection> plan;
  const std::int64_t num_sections = dice.roll(0, 3);
  for (std::int64_t s = 0; s < num_sections; ++s) {
    PimSection section{.runs = {}, .repeats = dice.roll(0, dice.roll(1, 40))};
    const std::int64_t num_runs = dice.roll(1, 3);
    for (std::int64_t r = 0; r < num_runs; ++r) {
      section.runs.push_back({.row = dice.roll(0, num_rows - 1),
                              .count = dice.roll(0, dice.roll(0, 4) == 0 ? 40 : 4)});
    }
    plan.push_back(section);
  }
  return plan;
}

TEST(PimChannelTest, RepeatingByMultiplicationEqualsEveryCycleOneByOne) {
  Dice dice(1);
  std::int64_t num_long = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<PimRow> rows;
    const std::int64_t num_rows = dice.roll(1, 3);
    std::int64_t longest = 0;
    for (std::int64_t r = 0; r < num_rows; ++r) {
      rows.push_back(random_row(dice));
      longest = std::max(longest, rows.back().length);
    }
    // Lanes that share their plan, as they do but for the end of a call, or have their own.
    std::vector<std::vector<PimSection>> plans(static_cast<std::size_t>(dice.roll(1, 3)),
                                               random_plan(dice, num_rows));
    if (dice.roll(0, 1) == 0) {
      for (auto& plan : plans) plan = random_plan(dice, num_rows);
    }
    PimRefresh refresh;
    if (dice.roll(0, 1) == 0) {
      refresh.duration = dice.roll(1, 100);
      refresh.precharge = dice.roll(1, 20);
    }
    refresh.interval = longest + refresh.duration + dice.roll(1, dice.roll(1, 1000));
    const std::int64_t expected = testing::plain_pim_channel(rows, plans, refresh);
    ASSERT_EQ(simulate_pim_channel(rows, plans, refresh), expected) << "trial " << trial;
    if (expected > 20 * refresh.interval) ++num_long;

    std::int64_t last = 0;
    simulate_pim_channel(rows, plans, refresh,
                         [&](std::int64_t cycle, std::int64_t, const PimStep&) {
                           EXPECT_GT(cycle, last) << "one command a cycle";
                           last = cycle;
                         });
    ASSERT_EQ(last, expected) << "trial " << trial;
  }
  EXPECT_GT(num_long, 300) << "too few trials in which anything repeats";
}

TEST(PimChannelTest, TenBillionRowsTakeNoLongerThanAFewIntervals) {
  Dice dice(2);
  const std::vector<PimRow> rows = {random_row(dice), random_row(dice)};
  const auto plan = [](std::int64_t repeats, std::int64_t rows_of_a_turn) {
    return std::vector<PimSection>{
        {.runs = {{.row = 0, .count = 1}, {.row = 1, .count = rows_of_a_turn}},
         .repeats = repeats}};
  };
  const PimRefresh refresh = {.interval = 1500, .duration = 100, .precharge = 10};
  EXPECT_GT(simulate_pim_channel(rows, {plan(10'000'000'000, 5), plan(10'000'000'000, 5)}, refresh),
            60'000'000'000);
  EXPECT_GT(simulate_pim_channel(rows, {plan(3, 10'000'000'000), plan(3, 10'000'000'000)}, refresh),
            30'000'000'000);
}

TEST(PimScheduleTest, SkippingRoundsSpreadsTheWorkAsVisitingEveryBankDoes) {
  Dice dice(3);
  for (int trial = 0; trial < 4000; ++trial) {
    const PimGeometry geometry = {.num_channels = dice.roll(1, 4),
                                  .pseudo_channels = dice.roll(1, 2),
                                  .bank_groups = dice.roll(1, 4),
                                  .banks_per_group = dice.roll(1, 4)};
    const PimWork work = {.num_blocks = dice.roll(1, dice.roll(1, 3 * geometry.num_banks())),
                          .chunks_per_block = dice.roll(1, dice.roll(1, 60)),
                          .tells_starts = dice.roll(0, 1) == 0,
                          .keeps_incomplete_round = dice.roll(0, 1) == 0};
    const auto expected = testing::plain_pim_work(geometry, work);
    const PimSchedule schedule = spread_pim_work(geometry, work);
    ASSERT_EQ(schedule.ends.size(), expected.size());
    for (std::size_t p = 0; p < expected.size(); ++p) {
      std::vector<PimRowShape> shapes;
      for (const std::int64_t row :
           testing::flatten({schedule.turns, {.runs = schedule.ends[p], .repeats = 1}})) {
        shapes.push_back(schedule.shapes[static_cast<std::size_t>(row)]);
      }
      ASSERT_EQ(shapes, expected[p]) << "trial " << trial << " pseudo-channel " << p;
    }
  }
}

}  // namespace
}  // namespace lowbank::pim
