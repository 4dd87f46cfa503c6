#include "models/layers.h"

#include <cmath>
#include <tuple>
#include <vector>

#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>

#include "kernels/rotary.h"
#include "torch_support.h"

namespace lowbank {
namespace {

// Attention as the formula says, in float64.
torch::Tensor plain_attention(const torch::Tensor& q, const torch::Tensor& k,
                              const torch::Tensor& v) {
  const std::int64_t group = q.size(1) / k.size(1);
  const auto keys = k.repeat_interleave(group, 1).to(c10::kDouble);
  const auto values = v.repeat_interleave(group, 1).to(c10::kDouble);
  auto scores = at::matmul(q.to(c10::kDouble), keys.transpose(-1, -2)) /
                std::sqrt(static_cast<double>(q.size(3)));
  const auto visible =
      at::ones({q.size(2), k.size(2)}, at::TensorOptions(c10::kBool)).tril(k.size(2) - q.size(2));
  scores = at::where(visible, scores, at::full({}, -INFINITY, scores.options()));
  return at::matmul(scores.softmax(-1), values);
}

class CausalAttentionTest : public testing::SeededTest,
                            public ::testing::WithParamInterface<std::tuple<int, int, int>> {};

TEST_P(CausalAttentionTest, EqualsTheFormulaForwardAndBackward) {
  const auto [num_queries, num_past, kv_heads] = GetParam();
  const auto leaf = [](at::IntArrayRef shape) { return at::randn(shape).requires_grad_(); };
  const auto q = leaf({2, 4, num_queries, 8});
  const auto k = leaf({2, kv_heads, num_past + num_queries, 8});
  const auto v = leaf({2, kv_heads, num_past + num_queries, 8});
  const auto gradients = [&](const torch::Tensor& out) {
    for (auto* leaf_tensor : {&q, &k, &v}) leaf_tensor->mutable_grad() = torch::Tensor();
    out.square().sum().backward();
    return std::vector<torch::Tensor>{q.grad().clone(), k.grad().clone(), v.grad().clone()};
  };
  const auto expected = plain_attention(q, k, v);
  const auto expected_gradients = gradients(expected);
  const auto out = causal_attention(q, k, v);
  EXPECT_TENSOR_NEAR(out, expected.to(c10::kFloat), 1e-5);  // float32, sums of 12 terms
  const auto out_gradients = gradients(out);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TENSOR_NEAR(out_gradients[i], expected_gradients[i], 1e-4);  // values of order 10
  }
}

INSTANTIATE_TEST_SUITE_P(PrefillDecodeAndChunk, CausalAttentionTest,
                         ::testing::Combine(::testing::Values(1, 5), ::testing::Values(0, 7),
                                            ::testing::Values(4, 2, 1)));

class RotaryTest : public testing::SeededTest {
 protected:
  static torch::Tensor turned(RotaryEmbedding& rotary, const torch::Tensor& x_E,
                              std::int64_t position) {
    const auto tables = rotary.tables(position, 1, x_E.options());
    return lowbank::rotary(x_E.view({1, 1, 1, -1}), tables.cos_T1E, tables.sin_T1E).flatten();
  }
};

TEST_F(RotaryTest, ScoresDependOnlyOnTheDistance) {
  RotaryEmbedding rotary({}, 16);
  const auto q = at::randn({16}), k = at::randn({16});
  const double score = turned(rotary, q, 9).dot(turned(rotary, k, 4)).item<double>();
  // float32 angles of up to 1000: the rounding of the angle itself is 3e-5.
  EXPECT_NEAR(turned(rotary, q, 1000).dot(turned(rotary, k, 995)).item<double>(), score, 1e-3);
  EXPECT_GT(std::abs(turned(rotary, q, 9).dot(turned(rotary, k, 5)).item<double>() - score), 1e-2);
}

TEST_F(RotaryTest, TurningKeepsTheLengthAndPositionZeroTheVector) {
  RotaryEmbedding rotary({}, 16);
  const auto x = at::randn({16});
  EXPECT_TENSOR_NEAR(turned(rotary, x, 0), x, 0.0);
  EXPECT_NEAR(turned(rotary, x, 37).norm().item<double>(), x.norm().item<double>(), 1e-5);
}

TEST_F(RotaryTest, TheFirstPairTurnsByOneRadianAPosition) {
  RotaryEmbedding rotary({}, 4);
  auto x = torch::zeros({4});
  x[0] = 1.0;
  const auto y = turned(rotary, x, 2);
  EXPECT_NEAR(y[0].item<double>(), std::cos(2.0), 1e-6);
  EXPECT_NEAR(y[2].item<double>(), std::sin(2.0), 1e-6);  // partner: half a head further
  EXPECT_EQ(y[1].item<double>(), 0.0);
}

TEST_F(RotaryTest, Llama3KeepsShortWavelengthsAndStretchesLongOnes) {
  RotaryOptions options;
  options.kind = RotaryKind::kLlama3;
  options.factor = 8;
  options.low_freq_factor = 1;
  options.high_freq_factor = 4;
  options.original_max_positions = 32;
  RotaryEmbedding plain({}, 16), stretched(options, 16);
  const auto at_one = at::TensorOptions(c10::kFloat);
  const auto angles = [&](RotaryEmbedding& rotary) {
    const auto tables = rotary.tables(1, 1, at_one);
    return at::atan2(-tables.sin_T1E.flatten().narrow(0, 0, 8),
                     tables.cos_T1E.flatten().narrow(0, 0, 8));
  };
  const auto ratio = angles(stretched) / angles(plain);
  EXPECT_NEAR(ratio[0].item<double>(), 1.0, 1e-6);        // wavelength 2 pi < 32 / 4
  EXPECT_NEAR(ratio[7].item<double>(), 1.0 / 8.0, 1e-6);  // far beyond 32
  EXPECT_GT(ratio[1].item<double>(), 1.0 / 8.0);          // wavelength 19.9: in between
  EXPECT_LT(ratio[1].item<double>(), 1.0);
}

TEST(RmsNorm, DividesByTheRootMeanSquareAndIgnoresScale) {
  RandomWeights weights(RandomKey(1), 1.0, c10::kCPU, c10::kFloat);
  ParameterList list;
  list.add_norm("norm", 8, /*has_bias=*/false);
  weights.set_parameters(list);
  const RmsNorm norm(weights, "norm", 1e-12);
  torch::manual_seed(0);
  const auto x = at::randn({3, 8});
  const auto y = norm.forward(x);
  EXPECT_TENSOR_NEAR(y.square().mean(-1), torch::ones({3}), 1e-5);
  EXPECT_TENSOR_NEAR(norm.forward(x * 1000), y, 1e-5);
}

}  // namespace
}  // namespace lowbank
