#include "kernels/linear.h"

#include <vector>

#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "torch_support.h"

namespace lowbank {
namespace {

class LinearProductTest : public testing::SeededTest {};

// Sums of up to 600 products of normals in float32: about sqrt(600) 6e-8 of the largest for each.
constexpr double kTolerance = 2e-4;

torch::Tensor wide(const torch::Tensor& x) { return x.detach().to(torch::kDouble); }

struct LinearShape {
  std::vector<std::int64_t> x;
  std::int64_t num_out;
};

// Few rows, oneDNN's sizes, and small products that at::linear serves.
const std::vector<LinearShape> kShapes = {
    {{1, 600}, 300}, {{4, 3}, 5}, {{200, 600}, 300}, {{2, 100, 600}, 301}, {{2, 3, 40, 600}, 300}};

TEST_F(LinearProductTest, EqualsTheProductInDouble) {
  const c10::NoGradGuard no_grad;
  for (const auto& shape : kShapes) {
    const auto x = at::randn(shape.x);
    const auto weight = at::randn({shape.num_out, shape.x.back()});
    for (const auto& bias : {torch::Tensor(), at::randn({shape.num_out})}) {
      const auto exact = at::linear(wide(x), wide(weight), bias.defined() ? wide(bias) : bias);
      const auto y = apply_linear(x, weight, bias);
      EXPECT_TENSOR_NEAR(y, exact.to(torch::kFloat), kTolerance);
      // A transposed matrix is the same matrix.
      EXPECT_TENSOR_NEAR(apply_linear(x, weight.t().contiguous().t(), bias), y, kTolerance);
    }
  }
}

TEST_F(LinearProductTest, ServesInferenceModeAndRowsWithGaps) {
  const c10::InferenceMode inference;
  const auto x = at::randn({200, 2, 600}).select(1, 1);
  const auto weight = at::randn({300, 600});
  EXPECT_TENSOR_NEAR(apply_linear(x, weight), at::linear(wide(x), wide(weight)).to(torch::kFloat),
                     kTolerance);
}

TEST_F(LinearProductTest, GradientsEqualThoseInDouble) {
  for (const auto& shape : kShapes) {
    for (const int wanted : {1, 2, 3, 4, 7}) {  // bits: x, weight, bias
      const auto x = at::randn(shape.x).set_requires_grad((wanted & 1) != 0);
      const auto weight =
          at::randn({shape.num_out, shape.x.back()}).set_requires_grad((wanted & 2) != 0);
      const auto bias = at::randn({shape.num_out}).set_requires_grad((wanted & 4) != 0);
      auto sizes = shape.x;
      sizes.back() = shape.num_out;
      const auto grad = at::randn(sizes);
      apply_linear(x, weight, bias).backward(grad);

      const auto exact_x = wide(x).set_requires_grad(true);
      const auto exact_weight = wide(weight).set_requires_grad(true);
      const auto exact_bias = wide(bias).set_requires_grad(true);
      at::linear(exact_x, exact_weight, exact_bias).backward(wide(grad));
      const auto expect = [&](const torch::Tensor& got, const torch::Tensor& exact,
                              bool is_wanted) {
        ASSERT_EQ(got.grad().defined(), is_wanted);
        if (is_wanted) {
          EXPECT_TENSOR_NEAR(got.grad(), exact.grad().to(torch::kFloat), kTolerance);
        }
      };
      expect(x, exact_x, (wanted & 1) != 0);
      expect(weight, exact_weight, (wanted & 2) != 0);
      expect(bias, exact_bias, (wanted & 4) != 0);
    }
  }
}

TEST_F(LinearProductTest, GradientsWithoutBias) {
  const auto x = at::randn({200, 600}).set_requires_grad(true);
  const auto weight = at::randn({300, 600}).set_requires_grad(true);
  apply_linear(x, weight).sum().backward();
  EXPECT_TENSOR_NEAR(x.grad()[7], weight.detach().sum(0), kTolerance);
  EXPECT_TENSOR_NEAR(weight.grad()[9], x.detach().sum(0), kTolerance);
}

TEST_F(LinearProductTest, SecondDerivativeIsRefusedNotWrong) {
  const auto x = at::randn({200, 600}).set_requires_grad(true);
  const auto weight = at::randn({300, 600}).set_requires_grad(true);
  const auto y = apply_linear(x, weight).pow(2).sum();
  EXPECT_THROW(torch::autograd::grad({y}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true),
               c10::Error);
}

TEST_F(LinearProductTest, RefusesShapesThatDoNotFit) {
  EXPECT_THROW(apply_linear(at::randn({200, 601}), at::randn({300, 600})), c10::Error);
  EXPECT_THROW(apply_linear(at::randn({200, 600}), at::randn({300, 600}), at::randn({299})),
               c10::Error);
}

}  // namespace
}  // namespace lowbank
