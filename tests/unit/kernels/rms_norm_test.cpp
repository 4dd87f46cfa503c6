#include "kernels/rms_norm.h"

#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class RmsNormTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(RmsNormTest);

torch::Tensor exact_rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double eps) {
  return x * (x.square().mean(-1, true) + eps).rsqrt() * weight;
}

torch::Tensor double_leaf(const torch::Tensor& x) {
  return x.detach().to(torch::kDouble).requires_grad_();
}

TEST_P(RmsNormTest, ValuesAndGradientsAreThoseOfTheFormula) {
  for (const std::int64_t size : {1, 3, 16, 35, 576}) {
    for (const std::int64_t rows : {1, 2, 37, 130}) {
      const auto x = at::randn({rows, size}).requires_grad_();
      const auto weight = at::randn({size}).requires_grad_();
      const auto grad = at::randn({rows, size});
      const auto wide_x = double_leaf(x), wide_weight = double_leaf(weight);
      const auto exact = exact_rms_norm(wide_x, wide_weight, 1e-2);
      exact.backward(grad.to(torch::kDouble));

      const auto y = rms_norm(x, weight, 1e-2);
      y.backward(grad);
      // Float32: a few roundings of values up to about 10, and sums of `rows` of them.
      EXPECT_TENSOR_NEAR(y, exact.to(torch::kFloat), 1e-5) << rows << " x " << size;
      EXPECT_TENSOR_NEAR(x.grad(), wide_x.grad().to(torch::kFloat), 1e-4) << rows << " x " << size;
      EXPECT_TENSOR_NEAR(weight.grad(), wide_weight.grad().to(torch::kFloat), 1e-4)
          << rows << " x " << size;
      const c10::NoGradGuard no_grad;
      EXPECT_TRUE(rms_norm(x, weight, 1e-2).equal(y));
    }
  }
}

TEST_P(RmsNormTest, WithTheAdditionBothOutputsCarryGradients) {
  const auto x = at::randn({3, 5, 70}).requires_grad_();
  const auto residual = at::randn({3, 5, 70}).requires_grad_();
  const auto weight = at::randn({70}).requires_grad_();
  const auto grad_sum = at::randn({3, 5, 70}), grad_normed = at::randn({3, 5, 70});
  const auto wide_x = double_leaf(x), wide_residual = double_leaf(residual);
  const auto wide_weight = double_leaf(weight);
  const auto exact_sum = wide_x + wide_residual;
  const auto exact = exact_rms_norm(exact_sum, wide_weight, 1e-5);
  ((exact_sum * grad_sum).sum() + (exact * grad_normed).sum()).backward();

  const auto [sum, normed] = add_rms_norm(x, residual, weight, 1e-5);
  ((sum * grad_sum).sum() + (normed * grad_normed).sum()).backward();
  EXPECT_TENSOR_NEAR(sum, exact_sum.to(torch::kFloat), 1e-6);
  EXPECT_TENSOR_NEAR(normed, exact.to(torch::kFloat), 1e-5);
  EXPECT_TENSOR_NEAR(x.grad(), wide_x.grad().to(torch::kFloat), 1e-5);
  EXPECT_TENSOR_NEAR(residual.grad(), wide_residual.grad().to(torch::kFloat), 1e-5);
  EXPECT_TENSOR_NEAR(weight.grad(), wide_weight.grad().to(torch::kFloat), 1e-5);
}

TEST_P(RmsNormTest, AnOutputThatIsNotUsedPullsNothing) {
  const auto weight = at::randn({6}).requires_grad_();
  const auto x = at::randn({2, 6}).requires_grad_(), residual = at::randn({2, 6});
  add_rms_norm(x, residual, weight, 1e-5).sum_D.sum().backward();
  EXPECT_TENSOR_NEAR(x.grad(), torch::ones({2, 6}), 0.0);
  EXPECT_FALSE(weight.grad().defined());
  x.mutable_grad().reset();
  add_rms_norm(x, residual, weight, 1e-5).normed_D.sum().backward();
  const auto through_norm = x.grad().clone();
  x.mutable_grad().reset();
  rms_norm(x + residual, weight, 1e-5).sum().backward();
  EXPECT_TENSOR_NEAR(through_norm, x.grad(), 0.0);
}

TEST_P(RmsNormTest, Bfloat16RoundsAsThePlainFormula) {
  const auto x = at::randn({7, 50}).to(torch::kBFloat16);
  const auto weight = at::randn({50}).to(torch::kBFloat16);
  const auto wide = x.to(torch::kFloat);
  const auto plain =
      (wide * (wide.square().mean(-1, true) + 1e-5).rsqrt()).to(torch::kBFloat16) * weight;
  // Where float32 sums in another order cross a rounding border: one unit of 8 bits at 4.
  EXPECT_TENSOR_NEAR(rms_norm(x, weight, 1e-5), plain, 1.0 / 32);
  EXPECT_LT((rms_norm(x, weight, 1e-5) != plain).to(torch::kFloat).mean().item<float>(), 0.02f);
}

TEST_P(RmsNormTest, TakesStridedRowsAndOtherTypes) {
  const auto x = at::randn({6, 40}), weight = at::randn({20});
  EXPECT_TRUE(rms_norm(x.narrow(1, 10, 20), weight, 1e-5)
                  .equal(rms_norm(x.narrow(1, 10, 20).contiguous(), weight, 1e-5)));
  const auto wide = rms_norm(x.to(torch::kDouble), at::randn({40}, torch::kDouble), 1e-5);
  EXPECT_EQ(wide.scalar_type(), torch::kDouble);
  EXPECT_THROW(rms_norm(x, weight, 1e-5), c10::Error);
}

TEST_P(RmsNormTest, BitsDoNotDependOnThreads) {
  const auto x = at::randn({301, 203}), weight = at::randn({203}), grad = at::randn({301, 203});
  EXPECT_TRUE(same_bits_for_any_thread_count([&] { return rms_norm(x, weight, 1e-5); }));
  EXPECT_TRUE(same_bits_for_any_thread_count([&] {
    const auto leaf = weight.detach().clone().requires_grad_();
    rms_norm(x, leaf, 1e-5).backward(grad);
    return leaf.grad();
  }));
}

}  // namespace
}  // namespace lowbank
