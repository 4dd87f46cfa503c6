#include "kernels/dropout.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

const RandomKey kDropoutKey = RandomKey(7).derive("dropout");

class DropoutTest : public testing::SeededTest {};

TEST_F(DropoutTest, ZeroesTheWantedFractionAndKeepsTheMean) {
  const auto x = at::ones({1'000'001});
  for (const double probability : {0.1, 0.5, 0.9}) {
    const auto y = dropout(x, probability, kDropoutKey);
    // Five standard deviations of a million draws.
    EXPECT_NEAR((y == 0).to(torch::kDouble).mean().item<double>(), probability, 2.5e-3);
    EXPECT_NEAR(y.to(torch::kDouble).mean().item<double>(), 1.0, 1.5e-2);
    const auto kept = y.masked_select(y != 0);
    EXPECT_NEAR(kept.min().item<double>(), 1.0 / (1.0 - probability), 1e-3);
    EXPECT_EQ(kept.min().item<float>(), kept.max().item<float>());
  }
}

TEST_F(DropoutTest, NeighboursAreDrawnApart) {
  const auto dropped = (dropout(at::ones({1 << 20}), 0.5, kDropoutKey) == 0).to(torch::kDouble);
  for (const std::int64_t distance : {1, 2, 8, 64, 128, 512}) {
    const std::int64_t rest = dropped.numel() - distance;
    const auto both = dropped.narrow(0, 0, rest) * dropped.narrow(0, distance, rest);
    EXPECT_NEAR(both.mean().item<double>(), 0.25, 2.5e-3) << distance;
  }
}

TEST_F(DropoutTest, TheGradientPassesWhereTheValueDid) {
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kDouble}) {
    const auto x = at::ones({37, 41}).to(type).requires_grad_();
    const auto y = dropout(x, 0.3, kDropoutKey);
    y.backward(at::ones_like(y));
    EXPECT_TRUE(x.grad().equal(y.detach()));
    EXPECT_GT((y == 0).sum().item<std::int64_t>(), 0);
    // One draw, whatever the type; 1 / 0.7 has 8 bits in the narrowest.
    const auto narrow = dropout(at::ones({37, 41}), 0.3, kDropoutKey);
    EXPECT_TENSOR_NEAR(y.to(torch::kDouble), narrow.to(torch::kDouble), 1.0 / 128);
  }
}

TEST_F(DropoutTest, IsAFunctionOfKeyAndIndex) {
  const auto x = at::randn({3000});
  const auto y = dropout(x, 0.5, kDropoutKey);
  EXPECT_TRUE(dropout(x, 0.5, kDropoutKey).equal(y));
  EXPECT_TRUE(dropout(x.narrow(0, 0, 777), 0.5, kDropoutKey).equal(y.narrow(0, 0, 777)));
  EXPECT_FALSE(dropout(x, 0.5, kDropoutKey.derive(1)).equal(y));
  const auto strided = at::randn({60, 50}).t();
  EXPECT_TRUE(
      dropout(strided, 0.5, kDropoutKey).equal(dropout(strided.contiguous(), 0.5, kDropoutKey)));
}

TEST_F(DropoutTest, BitsDoNotDependOnThreads) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const auto x = at::randn({300'001}).to(type);
    EXPECT_TRUE(same_bits_for_any_thread_count([&] { return dropout(x, 0.2, kDropoutKey); }));
  }
}

TEST_F(DropoutTest, ProbabilityZeroChangesNothingAndOneIsRefused) {
  const auto x = at::randn({10});
  EXPECT_TRUE(dropout(x, 0.0, kDropoutKey).equal(x));
  EXPECT_LT(dropout(x, 0.9999999, kDropoutKey).abs().max().item<float>(), 1e6f);
  EXPECT_THROW(dropout(x, 1.0, kDropoutKey), c10::Error);
  EXPECT_THROW(dropout(x, -0.1, kDropoutKey), c10::Error);
}

}  // namespace
}  // namespace lowbank
