#include "report/page/axis.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace lowbank::report {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(AxisScaleTest, MapsTheEndsToTheEndsAndKeepsTheOrder) {
  for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
    const AxisScale axis(scale, 2, 800, 10, 310);
    EXPECT_DOUBLE_EQ(axis.map(2), 10);
    EXPECT_DOUBLE_EQ(axis.map(800), 310);
    double last = 9;
    for (double value = 2; value <= 800; value *= 1.3) {
      EXPECT_GT(axis.map(value), last);
      last = axis.map(value);
    }
  }
}

TEST(AxisScaleTest, GivesEqualRatiosEqualLengthsOnALogAxis) {
  const AxisScale axis(Scale::kLog, 1, 10000, 0, 400);
  EXPECT_NEAR(axis.map(10), 100, 1e-9);
  EXPECT_NEAR(axis.map(100), 200, 1e-9);
}

TEST(AxisScaleTest, TurnsRoundWhenPixelsFall) {
  const AxisScale axis(Scale::kLinear, 0, 1, 200, 0);
  EXPECT_DOUBLE_EQ(axis.map(0.25), 150);
}

TEST(AxisScaleTest, PutsFewRoundTicksInsideAnyRange) {
  for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
    for (const double low : {1e-12, 0.37, 1.0, 14.9, 980.0, 1e9}) {
      for (const double ratio : {1.001, 1.7, 4.0, 23.0, 900.0, 1e8}) {
        const AxisScale axis(scale, low, low * ratio, 0, 300);
        const auto ticks = axis.ticks(5, false);
        EXPECT_GE(ticks.size(), 2u) << low << " x " << ratio;
        EXPECT_LE(ticks.size(), 11u) << low << " x " << ratio;
        for (std::size_t i = 0; i < ticks.size(); ++i) {
          EXPECT_GE(ticks[i].value, axis.min() * (1 - 1e-6));
          EXPECT_LE(ticks[i].value, axis.max() * (1 + 1e-6));
          if (i == 0) continue;
          EXPECT_GT(ticks[i].value, ticks[i - 1].value);
          EXPECT_NE(ticks[i].label, ticks[i - 1].label) << low << " x " << ratio;
        }
      }
    }
  }
}

TEST(AxisScaleTest, LabelsTicksWithTheDigitsTheyNeed) {
  const auto labels = [](const AxisScale& axis, bool as_percent) {
    std::string out;
    for (const Tick& tick : axis.ticks(5, as_percent)) out += tick.label + "|";
    return out;
  };
  EXPECT_EQ(labels(AxisScale(Scale::kLinear, 0, 1, 0, 1), true), "0 %|20 %|40 %|60 %|80 %|100 %|");
  EXPECT_EQ(labels(AxisScale(Scale::kLinear, -0.5, 0.5, 0, 1), false), "-0.4|-0.2|0.0|0.2|0.4|");
  EXPECT_EQ(labels(AxisScale(Scale::kLog, 15, 1200, 0, 1), false), "20|50|100|200|500|1,000|");
  EXPECT_EQ(labels(AxisScale(Scale::kLog, 1, 1e6, 0, 1), false),
            "1|10|100|1,000|10,000|100,000|1,000,000|");
}

TEST(AxisScaleTest, StaysFiniteForRangesThatAreEmptyOrBeyondReason) {
  const double ends[][2] = {{5, 5},        {0, 0}, {-1e308, 1e308}, {kInfinity, -kInfinity},
                            {NAN, NAN},    {3, 1}, {1e-320, 1e308}, {-5, -5},
                            {1, 1 + 1e-15}};
  for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
    for (const auto& end : ends) {
      const AxisScale axis(scale, end[0], end[1], 0, 300);
      EXPECT_LT(axis.min(), axis.max());
      for (const double value : {-kInfinity, -1.0, 0.0, 1.0, 5.0, kInfinity, double(NAN)}) {
        EXPECT_TRUE(std::isfinite(axis.map(value)));
      }
      EXPECT_LE(axis.ticks(5, false).size(), 16u);
    }
  }
}

}  // namespace
}  // namespace lowbank::report
