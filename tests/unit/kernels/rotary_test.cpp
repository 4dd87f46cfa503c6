#include "kernels/rotary.h"

#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class RotaryTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(RotaryTest);

struct Turn {
  torch::Tensor cos, sin;
};

Turn random_turn(std::int64_t num_tokens, std::int64_t size) {
  const auto angle = 6.3 * at::rand({num_tokens, 1, size / 2});
  return {.cos = at::cat({angle.cos(), angle.cos()}, -1),
          .sin = at::cat({-angle.sin(), angle.sin()}, -1)};
}

torch::Tensor exact_rotary(const torch::Tensor& x, const Turn& turn) {
  return at::addcmul(x * turn.cos, x.roll(x.size(-1) / 2, -1), turn.sin).transpose(1, 2);
}

TEST_P(RotaryTest, ValuesAndGradientsAreThoseOfTheFormula) {
  for (const std::int64_t size : {2, 10, 64, 80}) {
    for (const std::int64_t num_tokens : {1, 5}) {
      // Heads as they are next to others in the output of one product.
      const auto product = at::randn({2, num_tokens, 3 + 4, size}).requires_grad_();
      const auto x = product.narrow(2, 3, 4);
      const auto turn = random_turn(num_tokens, size);
      const auto grad = at::randn({2, num_tokens, 4, size}).transpose(1, 2);
      exact_rotary(x, turn).backward(grad);
      const auto exact_grad = product.grad().clone();
      product.mutable_grad().zero_();

      const auto y = rotary(x, turn.cos, turn.sin);
      y.backward(grad);
      EXPECT_TRUE(y.is_contiguous());
      EXPECT_TENSOR_NEAR(y, exact_rotary(x, turn), 1e-6);
      EXPECT_TENSOR_NEAR(product.grad(), exact_grad, 1e-6);
    }
  }
}

TEST_P(RotaryTest, WritesIntoACache) {
  const auto x = at::randn({2, 3, 4, 6});
  const auto turn = random_turn(3, 6);
  const auto cache = at::zeros({2, 4, 10, 6});
  rotary_(cache.narrow(2, 5, 3), x, turn.cos, turn.sin);
  EXPECT_TRUE(cache.narrow(2, 5, 3).equal(rotary(x, turn.cos, turn.sin)));
  EXPECT_EQ(cache.narrow(2, 0, 5).abs().max().item<float>(), 0.0f);
  EXPECT_EQ(cache.narrow(2, 8, 2).abs().max().item<float>(), 0.0f);
  const auto other_type = at::zeros({2, 4, 3, 6}, torch::kDouble);
  rotary_(other_type, x, turn.cos, turn.sin);
  EXPECT_TENSOR_NEAR(other_type.to(torch::kFloat), rotary(x, turn.cos, turn.sin), 1e-6);
}

TEST_P(RotaryTest, TakesBfloat16AndOtherTypes) {
  const auto x = at::randn({1, 4, 2, 20});
  const auto turn = random_turn(4, 20);
  const auto halves = [&](const torch::Tensor& t) { return t.to(torch::kBFloat16); };
  const Turn rounded = {.cos = halves(turn.cos).to(torch::kFloat),
                        .sin = halves(turn.sin).to(torch::kFloat)};
  const auto exact = exact_rotary(halves(x).to(torch::kFloat), rounded);
  // Rounded once: half a unit of 8 bits at values below 8.
  EXPECT_TENSOR_NEAR(rotary(halves(x), halves(turn.cos), halves(turn.sin)).to(torch::kFloat), exact,
                     1.0 / 64);
  const auto wide = [](const torch::Tensor& t) { return t.to(torch::kDouble); };
  EXPECT_TENSOR_NEAR(rotary(wide(x), wide(turn.cos), wide(turn.sin)), wide(exact_rotary(x, turn)),
                     1e-6);
  EXPECT_THROW(rotary(x, turn.cos.narrow(0, 0, 3), turn.sin.narrow(0, 0, 3)), c10::Error);
}

TEST_P(RotaryTest, BitsDoNotDependOnThreads) {
  const auto x = at::randn({2, 100, 9, 64});
  const auto turn = random_turn(100, 64);
  EXPECT_TRUE(same_bits_for_any_thread_count([&] { return rotary(x, turn.cos, turn.sin); }));
}

}  // namespace
}  // namespace lowbank
