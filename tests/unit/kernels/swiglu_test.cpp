#include "kernels/swiglu.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class SwigluTest : public testing::VectorKernelTest {};
LOWBANK_ALL_EXTENSIONS(SwigluTest);

TEST_P(SwigluTest, TheExponentialErrsByAtMost2e7) {
  const auto x = at::linspace(-87.3, 88.3, 1'000'003, torch::kFloat);
  const auto y = at::empty_like(x);
  vector_kernels().exp(y.data_ptr<float>(), x.const_data_ptr<float>(), x.numel());
  const auto exact = x.to(torch::kDouble).exp();
  EXPECT_LE(((y.to(torch::kDouble) - exact).abs() / exact).max().item<double>(), 2e-7);
}

TEST_P(SwigluTest, TheExponentialOfHugeAndUndefinedNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {-infinity, -1e30f, -100.0f, 0.0f, 200.0f, infinity, std::nanf("")};
  float y[7];
  vector_kernels().exp(y, x, 7);
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], 1.0f);
  EXPECT_GT(y[4], 1e38f);
  EXPECT_EQ(y[5], y[4]);
  EXPECT_TRUE(std::isnan(y[6]));
}

TEST_P(SwigluTest, ValuesAndGradientsAreThoseOfTheFormula) {
  for (const std::int64_t size : {1, 7, 16, 100}) {
    const auto gate = (3 * at::randn({2, 9, size})).requires_grad_();
    const auto up = at::randn({2, 9, size}).requires_grad_();
    const auto grad = at::randn({2, 9, size});
    const auto wide_gate = gate.detach().to(torch::kDouble).requires_grad_();
    const auto wide_up = up.detach().to(torch::kDouble).requires_grad_();
    const auto exact = at::silu(wide_gate) * wide_up;
    exact.backward(grad.to(torch::kDouble));

    const auto y = swiglu(gate, up);
    y.backward(grad);
    EXPECT_TENSOR_NEAR(y, exact.to(torch::kFloat), 1e-5);
    EXPECT_TENSOR_NEAR(gate.grad(), wide_gate.grad().to(torch::kFloat), 1e-5);
    EXPECT_TENSOR_NEAR(up.grad(), wide_up.grad().to(torch::kFloat), 1e-5);

    const auto both = at::cat({gate, up}, -1).detach().requires_grad_();
    const auto of_both = swiglu(both);
    of_both.backward(grad);
    EXPECT_TRUE(of_both.equal(y));
    EXPECT_TRUE(both.grad().equal(at::cat({gate.grad(), up.grad()}, -1)));
  }
}

TEST_P(SwigluTest, Bfloat16IsRoundedOnce) {
  const auto gate = at::randn({5, 33}).to(torch::kBFloat16);
  const auto up = at::randn({5, 33}).to(torch::kBFloat16);
  const auto exact = at::silu(gate.to(torch::kFloat)) * up.to(torch::kFloat);
  // The float32 values differ in the last bits, so that a few may round to the other side.
  const auto y = swiglu(gate, up);
  EXPECT_LT((y != exact.to(torch::kBFloat16)).to(torch::kFloat).mean().item<float>(), 0.02f);
  EXPECT_TENSOR_NEAR(y.to(torch::kFloat), exact, 0.05);
}

TEST_P(SwigluTest, TakesStridedHalvesAndOtherTypes) {
  const auto both = at::randn({4, 60});
  EXPECT_TRUE(swiglu(both.narrow(1, 0, 30), both.narrow(1, 30, 30)).equal(swiglu(both)));
  EXPECT_EQ(swiglu(both.to(torch::kDouble)).scalar_type(), torch::kDouble);
  EXPECT_THROW(swiglu(at::randn({4, 5})), c10::Error);
  EXPECT_THROW(swiglu(at::randn({4, 5}), at::randn({5})), c10::Error);
}

TEST_P(SwigluTest, BitsDoNotDependOnThreads) {
  const auto both = at::randn({101, 606});
  EXPECT_TRUE(same_bits_for_any_thread_count([&] { return swiglu(both); }));
}

}  // namespace
}  // namespace lowbank
