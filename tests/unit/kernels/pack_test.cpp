#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using ::testing::Each;
using ::testing::Truly;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<float> evenly_spaced(double first, double last, int count) {
  std::vector<float> out;
  for (int i = 0; i < count; ++i) {
    out.push_back(static_cast<float>(first + (last - first) * i / (count - 1)));
  }
  return out;
}

std::int64_t size_of(const std::vector<float>& x) { return static_cast<std::int64_t>(x.size()); }

template <class Exact>
double worst_relative_error(const std::vector<float>& x, const std::vector<float>& got,
                            const Exact& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wanted = exact(i);
    const double error = std::abs(got[i] - wanted) / std::abs(wanted);
    worst = error <= worst ? worst : error;  // a NaN wins
    if (std::isnan(error)) return kInfinity;
  }
  return worst;
}

class PackTest : public testing::EveryIsa<::testing::Test> {};
LOWBANK_EVERY_ISA(PackTest);

// 1000003 is no multiple of any number of lanes.
TEST_P(PackTest, ExpIsWithinItsBound) {
  const auto x = evenly_spaced(-87.3, 88.3, 1'000'003);
  std::vector<float> y(x.size());
  cpu_kernels().exp(x.data(), y.data(), size_of(x));
  EXPECT_LT(worst_relative_error(x, y, [&](std::size_t i) { return std::exp(double{x[i]}); }),
            GetParam() == CpuIsa::kPortable ? 1.5e-7 : 1e-7);
}

TEST_P(PackTest, ExpOfHugeAndUndefinedNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {-infinity, -1e30f, -100.0f, 0.0f, 200.0f, infinity, std::nanf("")};
  float y[7];
  cpu_kernels().exp(x, y, 7);
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], 1.0f);
  EXPECT_GT(y[4], 1e38f);
  EXPECT_EQ(y[5], y[4]);
  EXPECT_TRUE(std::isnan(y[6]));
}

// 100003 is no multiple either.
TEST_P(PackTest, ExpOfAProductIsWithinItsBoundAndOneAtZero) {
  auto x = evenly_spaced(0, 20, 100003);
  x[1] = 1e-30f;
  const std::vector<float> factor(x.size(), -6.0f);
  std::vector<float> y(size_of(x));
  cpu_kernels().exp2_product(x.data(), factor.data(), y.data(), size_of(x));
  EXPECT_EQ(y[0], 1.0f);
  EXPECT_EQ(y[1], 1.0f);
  // Where the product is rounded before it is split, that error comes on top: |x factor| 2^-24.
  EXPECT_LT(
      worst_relative_error(x, y, [&](std::size_t i) { return std::exp2(-6.0 * double{x[i]}); }),
      GetParam() == CpuIsa::kAvx512 ? 2e-7 : 6e-6);
  EXPECT_LT(worst_relative_error(std::vector<float>(x.begin(), x.begin() + 5000), y,
                                 [&](std::size_t i) { return std::exp2(-6.0 * double{x[i]}); }),
            5e-7);
}

TEST_P(PackTest, ExpOfAProductSaturatesAtBothEnds) {
  const std::vector<float> x(40, 1.0f);
  std::vector<float> y(size_of(x));
  cpu_kernels().exp2_product(x.data(), std::vector<float>(40, -3e4f).data(), y.data(), size_of(x));
  EXPECT_THAT(y, Each(::testing::AllOf(::testing::Ge(0.0f), ::testing::Le(0x1p-126f))));
  cpu_kernels().exp2_product(x.data(), std::vector<float>(40, 3e4f).data(), y.data(), size_of(x));
  EXPECT_THAT(y, Each(::testing::Ge(0x1p127f)));
  const std::vector<float> nan(40, std::numeric_limits<float>::quiet_NaN());
  cpu_kernels().exp2_product(x.data(), nan.data(), y.data(), size_of(x));
  EXPECT_THAT(y, Each(Truly([](float v) { return std::isnan(v); })));
}

TEST_P(PackTest, SoftplusKeepsItsRelativePrecisionForSmallSteps) {
  const auto x = evenly_spaced(-80, 60, 100003);
  std::vector<float> y(size_of(x));
  cpu_kernels().softplus(x.data(), y.data(), size_of(x));
  EXPECT_LT(
      worst_relative_error(x, y, [&](std::size_t i) { return std::log1p(std::exp(double{x[i]})); }),
      5e-7);
}

TEST_P(PackTest, SigmoidIsWithinItsBound) {
  const auto x = evenly_spaced(-80, 80, 100003);
  std::vector<float> y(size_of(x));
  cpu_kernels().sigmoid(x.data(), y.data(), size_of(x));
  EXPECT_LT(
      worst_relative_error(x, y, [&](std::size_t i) { return 1 / (1 + std::exp(-double{x[i]})); }),
      4e-7);
}

}  // namespace
}  // namespace lowbank
