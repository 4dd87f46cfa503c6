#include "kernels/small_linear.h"

#include <array>

#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class SmallLinearTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(SmallLinearTest);

torch::Tensor exact_linear(const torch::Tensor& x, const torch::Tensor& weight,
                           const torch::Tensor& bias) {
  return at::linear(x.to(torch::kDouble), weight.to(torch::kDouble),
                    bias.defined() ? bias.to(torch::kDouble) : bias);
}

TEST_P(SmallLinearTest, IsTheProductWithTheTransposedWeight) {
  const c10::NoGradGuard no_grad;
  for (const auto weight_type : {torch::kFloat, torch::kBFloat16}) {
    for (const std::int64_t num_in : {1, 5, 16, 67, 576}) {
      for (const std::int64_t num_out : {1, 3, 10, 131}) {
        for (const std::int64_t num_x : {1, 2, 3, 5, 8}) {
          const auto x = at::randn({num_x, 1, num_in});
          const auto weight = at::randn({num_out, num_in}).to(weight_type);
          const auto bias =
              num_out % 2 == 0 ? torch::Tensor() : at::randn({num_out}).to(weight_type);
          ASSERT_TRUE(serves_small_linear(x, weight));
          const auto exact = exact_linear(x, weight, bias).to(torch::kFloat);
          // Float32 sums of up to 576 products of normals: about sqrt(576) 6e-8 for each.
          EXPECT_TENSOR_NEAR(small_linear(x, weight, bias), exact, 5e-5)
              << num_x << " x " << num_in << " x " << num_out;
        }
      }
    }
  }
}

TEST_P(SmallLinearTest, GivesTheTypeOfXRoundedOnce) {
  const c10::NoGradGuard no_grad;
  const auto weight = at::randn({33, 70}).to(torch::kBFloat16);
  const auto x = at::randn({3, 70}).to(torch::kBFloat16);
  const auto y = small_linear(x, weight);
  ASSERT_EQ(y.scalar_type(), torch::kBFloat16);
  const auto exact = exact_linear(x, weight, {});
  // Half a unit in the last of 8 bits.
  EXPECT_LE(((y.to(torch::kDouble) - exact).abs() / (exact.abs() + 1e-3)).max().item<double>(),
            1.0 / 256 + 1e-4);
}

TEST_P(SmallLinearTest, BitsDoNotDependOnThreads) {
  const c10::NoGradGuard no_grad;
  const auto weight = at::randn({1001, 203});
  for (const std::int64_t num_x : {1, 6}) {
    const auto x = at::randn({num_x, 203});
    EXPECT_TRUE(same_bits_for_any_thread_count([&] { return small_linear(x, weight); }));
  }
}

TEST_P(SmallLinearTest, AGroupGivesWhatItsProductsGive) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(3);
  const auto x = at::randn({2, 301});
  const std::vector<torch::Tensor> weights = {at::randn({400, 301}), at::randn({7, 301}),
                                              at::randn({250, 301})};
  const std::vector<torch::Tensor> biases = {at::randn({400}), torch::Tensor(), at::randn({250})};
  const auto outs = small_linear_group(x, weights, biases);
  ASSERT_EQ(outs.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(outs[i].equal(small_linear(x, weights[i], biases[i]))) << i;
  }
}

TEST_P(SmallLinearTest, WhereAGradientIsWantedItIsTheLinearOperator) {
  const auto weight = at::randn({4, 6}).requires_grad_();
  const auto x = at::randn({2, 6});
  EXPECT_FALSE(serves_small_linear(x, weight));
  EXPECT_FALSE(serves_small_linear(at::randn({9, 6}), weight.detach()));
  small_linear(x, weight).sum().backward();
  EXPECT_TENSOR_NEAR(weight.grad(), x.sum(0).expand({4, 6}), 1e-6);
}

TEST_P(SmallLinearTest, RefusesShapesThatDoNotFit) {
  const c10::NoGradGuard no_grad;
  EXPECT_THROW(small_linear(at::randn({1, 5}), at::randn({3, 6})), c10::Error);
  EXPECT_THROW(small_linear(at::randn({1, 6}), at::randn({3, 6}), at::randn({4})), c10::Error);
}

}  // namespace
}  // namespace lowbank
