#include "kernels/swiglu.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class SwigluTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(SwigluTest);

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
