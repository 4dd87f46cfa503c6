#include "core/stats.h"

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace lowbank {
namespace {

TEST(StatsTest, TheMedianIsTheMiddleOfTheSortedValues) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({9, 1, 4, 2}), 3);
  EXPECT_THROW(median({}), std::invalid_argument);
}

// NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.2 (three decimals).
TEST(StatsTest, StudentQuantilesAgreeWithTheTable) {
  const std::pair<std::int64_t, double> table[] = {
      {1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},  {5, 2.571},  {6, 2.447},
      {7, 2.365},  {8, 2.306},  {9, 2.262},  {10, 2.228}, {15, 2.131}, {20, 2.086},
      {30, 2.042}, {60, 2.000}, {99, 1.984}, {100, 1.984}};
  for (const auto& [dof, t] : table) {
    EXPECT_NEAR(student_t_975(dof), t, 5.1e-4) << dof << " degrees of freedom";
  }
  EXPECT_NEAR(student_t_975(1'000'000), 1.959964, 1e-6);
  EXPECT_NEAR(student_t_975(100'000), student_t_975(100'001), 3e-5);  // where the branches meet
}

TEST(StatsTest, SummaryIsMeanAndStudentInterval) {
  const std::vector<double> values = {1, 2, 3, 4, 5, 6, 7, 8};
  const TrialSummary s = summarize_trials(values);
  EXPECT_EQ(s.num_trials, 8);
  EXPECT_DOUBLE_EQ(s.mean, 4.5);
  EXPECT_DOUBLE_EQ(s.standard_error, std::sqrt(6.0 / 8.0));  // s^2 = 42 / 7 = 6
  EXPECT_NEAR(s.ci95_high - s.mean, 2.3646 * s.standard_error, 1e-4);
  EXPECT_NEAR(s.mean - s.ci95_low, s.ci95_high - s.mean, 1e-12);
}

TEST(StatsTest, OneTrialHasNoSpread) {
  const double value = 3.5;
  const TrialSummary s = summarize_trials({&value, 1});
  EXPECT_EQ(s.standard_error, 0);
  EXPECT_EQ(s.ci95_low, 3.5);
  EXPECT_EQ(s.ci95_high, 3.5);
}

TEST(StatsTest, NoTrialIsTheCallersMistake) {
  EXPECT_THROW(summarize_trials({}), std::invalid_argument);
  EXPECT_THROW(student_t_975(0), std::invalid_argument);
}

}  // namespace
}  // namespace lowbank
