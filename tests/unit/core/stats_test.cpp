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

TEST(StatsTest, MeansAreOfSumsAndOfLogarithms) {
  const std::vector<double> values = {1, 2, 9};
  EXPECT_EQ(mean(values), 4);
  EXPECT_NEAR(geometric_mean(values), std::cbrt(18.0), 1e-15 * std::cbrt(18.0) * 4);
  EXPECT_THROW(mean({}), std::invalid_argument);
  EXPECT_THROW(geometric_mean({}), std::invalid_argument);
}

TEST(StatsTest, AQuantileIsOneOfTheValues) {
  EXPECT_EQ(upper_quantile({4, 1, 3, 2}, 0.5), 3) << "two of four are below";
  EXPECT_EQ(upper_quantile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(upper_quantile({10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 0.9), 10);
  EXPECT_EQ(upper_quantile({3, 1, 2}, 0.9), 3);
  EXPECT_EQ(upper_quantile({3, 1, 2}, 0), 1);
  EXPECT_THROW(upper_quantile({}, 0.5), std::invalid_argument);
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

using Values = std::vector<double>;

TEST(StatsTest, PearsonIsThatOfNumpy) {
  // numpy.corrcoef of the two lists.
  EXPECT_NEAR(pearson_correlation(Values{1, 2, 3, 4, 5}, Values{2, 1, 4, 3, 7}), 0.8241633836921342,
              1e-15);
  EXPECT_NEAR(pearson_correlation(Values{1, 2, 3}, Values{-1, -2, -3}), -1, 1e-15);
  // Far from zero with little spread: sums of squares would have lost it.
  EXPECT_NEAR(pearson_correlation(Values{1e9 + 1, 1e9 + 2, 1e9 + 3}, Values{1, 2, 3}), 1, 1e-12);
}

TEST(StatsTest, EqualValuesShareTheMeanOfTheirRanks) {
  EXPECT_EQ(average_ranks(Values{10, 20, 20, 5, 20}), (Values{2, 4, 4, 1, 4}));
  EXPECT_EQ(average_ranks(Values{7, 7}), (Values{1.5, 1.5}));
  EXPECT_TRUE(average_ranks(Values{}).empty());
}

TEST(StatsTest, SpearmanIsThatOfScipy) {
  // scipy.stats.spearmanr, with ties in both lists.
  EXPECT_NEAR(spearman_correlation(Values{1, 2, 2, 3, 4, 4}, Values{1, 3, 2, 2, 5, 4}),
              0.8508410434878082, 1e-15);
  // Any rising curve of the values has the same ranks.
  EXPECT_NEAR(spearman_correlation(Values{1, 2, 3, 4}, Values{1, 10, 100, 1000}), 1, 1e-15);
}

TEST(StatsTest, WithoutSpreadThereIsNone) {
  EXPECT_TRUE(std::isnan(pearson_correlation(Values{1, 2}, Values{3, 3})));
  EXPECT_TRUE(std::isnan(pearson_correlation(Values{1}, Values{3})));
  EXPECT_TRUE(std::isnan(spearman_correlation(Values{}, Values{})));
  EXPECT_THROW(pearson_correlation(Values{1}, Values{1, 2}), std::invalid_argument);
}

TEST(StatsTest, TheBootstrapFindsTheErrorOfAMean) {
  Values values;
  for (int i = 0; i < 400; ++i) values.push_back(std::sin(i) * i);
  const auto mean = [&](std::span<const std::int64_t> indices) {
    double sum = 0;
    for (const auto i : indices) sum += values[static_cast<std::size_t>(i)];
    return sum / static_cast<double>(indices.size());
  };
  double all_sum = 0, square_sum = 0;
  for (const double v : values) all_sum += v;
  for (const double v : values) square_sum += (v - all_sum / 400) * (v - all_sum / 400);
  const double formula = std::sqrt(square_sum / 400 / 400);
  const double found = bootstrap_stderr(mean, 400, RandomKey(3));
  // A standard deviation of 1000 draws is itself known to 1 / sqrt(2000) = 2.2 %; 4 of these.
  EXPECT_NEAR(found, formula, 0.09 * formula);
  EXPECT_EQ(bootstrap_stderr(mean, 400, RandomKey(3)), found);
  EXPECT_NE(bootstrap_stderr(mean, 400, RandomKey(4)), found);
}

TEST(StatsTest, SamplesWithoutAValueAreLeftOut) {
  const Values a = {1, 2}, b = {1, 3};
  const auto statistic = [&](std::span<const std::int64_t> indices) {
    Values x, y;
    for (const auto i : indices) {
      x.push_back(a[static_cast<std::size_t>(i)]);
      y.push_back(b[static_cast<std::size_t>(i)]);
    }
    return pearson_correlation(x, y);
  };
  // Half of the samples are one pair twice; in all others the correlation is 1.
  EXPECT_NEAR(bootstrap_stderr(statistic, 2, RandomKey(1)), 0, 1e-12);
  EXPECT_TRUE(std::isnan(bootstrap_stderr(statistic, 1, RandomKey(1))));
}

}  // namespace
}  // namespace lowbank
