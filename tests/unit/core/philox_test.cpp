#include "core/philox.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "core/philox_block.h"

namespace lowbank {
namespace {

using Block = std::array<std::uint32_t, 4>;

std::vector<float> normals(const RandomKey& key, std::size_t n, std::uint64_t first = 0) {
  std::vector<float> out(n);
  fill_normal(out, key, first);
  return out;
}

std::vector<float> uniforms(const RandomKey& key, std::size_t n) {
  std::vector<float> out(n);
  fill_uniform(out, key);
  return out;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum / static_cast<double>(a.size());
}

// Random123 1.14, tests/kat_vectors, philox4x32 10.
TEST(PhiloxTest, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, ABlockOfAStreamIsPhiloxOfItsIndexStreamAndKey) {
  const RandomKey key = RandomKey(7).derive("noise");
  const std::uint64_t index = 0x123456789abcdef0;
  const Block expected = philox4x32(
      {0x9abcdef0, 0x12345678, static_cast<std::uint32_t>(key.stream()),
       static_cast<std::uint32_t>(key.stream() >> 32)},
      {static_cast<std::uint32_t>(key.key()), static_cast<std::uint32_t>(key.key() >> 32)});
  EXPECT_EQ(key.block(index), expected);
}

TEST(PhiloxTest, NormalsDoNotDependOnHowTheStreamIsCut) {
  const RandomKey key = RandomKey(1).derive("cut");
  const auto whole = normals(key, 103);
  for (const std::size_t step : {1u, 2u, 3u, 4u, 5u, 7u, 50u}) {
    std::vector<float> pieces;
    for (std::size_t at = 0; at < whole.size(); at += step) {
      const auto piece = normals(key, std::min(step, whole.size() - at), at);
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(pieces, whole) << "pieces of " << step;
  }
}

TEST(PhiloxTest, NormalsHaveTheMomentsOfTheStandardNormal) {
  const auto x = normals(RandomKey(3), 1'000'000);
  const double n = static_cast<double>(x.size());
  double m1 = 0;
  double m2 = 0;
  double m3 = 0;
  double m4 = 0;
  for (const double v : x) {
    m1 += v;
    m2 += v * v;
    m3 += v * v * v;
    m4 += v * v * v * v;
  }
  // Five standard errors: the variances of the moments are 1, 2, 15 and 96 over n.
  EXPECT_NEAR(m1 / n, 0, 5 * std::sqrt(1 / n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96 / n));
}

TEST(PhiloxTest, UniformsFillTheUnitIntervalEvenly) {
  const auto x = uniforms(RandomKey(4), 100'000);
  std::vector<double> counts(10);
  for (const float v : x) {
    ASSERT_GT(v, 0.0f);
    ASSERT_LT(v, 1.0f);
    counts[static_cast<std::size_t>(v * 10)] += 1;
  }
  double chi2 = 0;
  for (const double c : counts) chi2 += (c - 1e4) * (c - 1e4) / 1e4;
  EXPECT_LT(chi2, 33.7);  // quantile 0.9999 with 9 degrees of freedom
}

TEST(PhiloxTest, TheEndsOfTheIntervalAreNeverDrawn) {
  EXPECT_GT(uniform_from_word(0), 0.0f);
  EXPECT_LT(uniform_from_word(0xffffffff), 1.0f);
  EXPECT_EQ(uniform_from_word(0) + uniform_from_word(0xffffffff), 1.0f);
}

TEST(PhiloxTest, EqualPathsGiveEqualStreamsAndOthersDoNot) {
  const RandomKey root(5);
  EXPECT_EQ(normals(root.derive("a").derive(3), 8), normals(RandomKey(5).derive("a").derive(3), 8));
  std::set<std::uint64_t> streams = {root.stream(),
                                     root.derive("a").stream(),
                                     root.derive("b").stream(),
                                     root.derive("").stream(),
                                     root.derive(std::uint64_t{0}).stream(),
                                     root.derive(1).stream(),
                                     root.derive("1").stream(),
                                     root.derive("a").derive("b").stream(),
                                     root.derive("b").derive("a").stream(),
                                     root.derive("ab").stream(),
                                     root.derive("a").derive(1).stream(),
                                     root.derive(1).derive("a").stream()};
  EXPECT_EQ(streams.size(), 12u);
}

TEST(PhiloxTest, DerivedStreamsAndNearbySeedsAreUncorrelated) {
  const std::size_t n = 100'000;
  const double bound = 5 / std::sqrt(double(n));  // five standard errors of a zero correlation
  const RandomKey root(6);
  const auto base = normals(root.derive(std::uint64_t{0}), n);
  EXPECT_NEAR(correlation(base, normals(root.derive(1), n)), 0, bound);
  EXPECT_NEAR(correlation(base, normals(root.derive("layer"), n)), 0, bound);
  EXPECT_NEAR(correlation(base, normals(RandomKey(7).derive(std::uint64_t{0}), n)), 0, bound);
  EXPECT_NEAR(correlation(base, normals(root.derive(std::uint64_t{0}), n, 1)), 0, bound);
}

TEST(PhiloxTest, BelowStaysBelowItsBoundAndReachesEveryValue) {
  const RandomKey key(8);
  std::vector<int> counts(7);
  for (std::uint64_t i = 0; i < 7000; ++i) ++counts.at(key.below(7, i));
  for (const int c : counts) EXPECT_NEAR(c, 1000, 5 * std::sqrt(1000.0 * 6 / 7));
  EXPECT_EQ(key.below(1, 0), 0u);
}

TEST(PhiloxTest, APermutationHoldsEveryIndexOnceAndMovesThem) {
  std::vector<std::int64_t> perm(1000);
  fill_permutation(perm, RandomKey(9));
  std::vector<std::int64_t> again(1000);
  fill_permutation(again, RandomKey(9));
  EXPECT_EQ(perm, again);
  EXPECT_FALSE(std::is_sorted(perm.begin(), perm.end()));
  std::sort(perm.begin(), perm.end());
  for (std::int64_t i = 0; i < 1000; ++i) EXPECT_EQ(perm[static_cast<std::size_t>(i)], i);
}

}  // namespace
}  // namespace lowbank
