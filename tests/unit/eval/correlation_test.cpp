#include "eval/correlation.h"

#include <cmath>
#include <stdexcept>

#include <gtest/gtest.h>

namespace lowbank {
namespace {

using Values = std::vector<double>;

TEST(Correlation, PearsonIsThatOfNumpy) {
  // numpy.corrcoef of the two lists.
  EXPECT_NEAR(pearson_correlation(Values{1, 2, 3, 4, 5}, Values{2, 1, 4, 3, 7}), 0.8241633836921342,
              1e-15);
  EXPECT_NEAR(pearson_correlation(Values{1, 2, 3}, Values{-1, -2, -3}), -1, 1e-15);
  // Far from zero with little spread: sums of squares would have lost it.
  EXPECT_NEAR(pearson_correlation(Values{1e9 + 1, 1e9 + 2, 1e9 + 3}, Values{1, 2, 3}), 1, 1e-12);
}

TEST(Correlation, EqualValuesShareTheMeanOfTheirRanks) {
  EXPECT_EQ(average_ranks(Values{10, 20, 20, 5, 20}), (Values{2, 4, 4, 1, 4}));
  EXPECT_EQ(average_ranks(Values{7, 7}), (Values{1.5, 1.5}));
  EXPECT_TRUE(average_ranks(Values{}).empty());
}

TEST(Correlation, SpearmanIsThatOfScipy) {
  // scipy.stats.spearmanr, with ties in both lists.
  EXPECT_NEAR(spearman_correlation(Values{1, 2, 2, 3, 4, 4}, Values{1, 3, 2, 2, 5, 4}),
              0.8508410434878082, 1e-15);
  // Any rising curve of the values has the same ranks.
  EXPECT_NEAR(spearman_correlation(Values{1, 2, 3, 4}, Values{1, 10, 100, 1000}), 1, 1e-15);
}

TEST(Correlation, WithoutSpreadThereIsNone) {
  EXPECT_TRUE(std::isnan(pearson_correlation(Values{1, 2}, Values{3, 3})));
  EXPECT_TRUE(std::isnan(pearson_correlation(Values{1}, Values{3})));
  EXPECT_TRUE(std::isnan(spearman_correlation(Values{}, Values{})));
  EXPECT_THROW(pearson_correlation(Values{1}, Values{1, 2}), std::invalid_argument);
}

TEST(Correlation, TheBootstrapFindsTheErrorOfAMean) {
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

TEST(Correlation, SamplesWithoutAValueAreLeftOut) {
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
