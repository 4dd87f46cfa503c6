#include "kernels/decode_attention.h"

#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using testing::same_bits_for_any_thread_count;

class DecodeAttentionTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(DecodeAttentionTest);

torch::Tensor exact_attention(const torch::Tensor& q, const torch::Tensor& keys,
                              const torch::Tensor& values, const torch::Tensor& mask) {
  const std::int64_t group = q.size(1) / keys.size(1);
  const auto wide = [&](const torch::Tensor& t) {
    return t.to(torch::kDouble).repeat_interleave(group, 1);
  };
  auto scores = at::matmul(wide(keys), q.to(torch::kDouble).unsqueeze(-1)).squeeze(-1) /
                std::sqrt(static_cast<double>(q.size(2)));
  if (mask.defined()) {
    scores = scores.masked_fill(mask.unsqueeze(1).logical_not(),
                                -std::numeric_limits<double>::infinity());
  }
  return at::matmul(scores.softmax(-1).unsqueeze(-2), wide(values)).squeeze(-2);
}

TEST_P(DecodeAttentionTest, IsSoftmaxAttentionOverAViewOfTheCache) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    for (const std::int64_t size : {3, 20, 64, 80}) {
      for (const std::int64_t num_keys : {1, 16, 127, 128, 129, 300}) {
        for (const std::int64_t group : {1, 3, 5}) {
          const auto keys = at::randn({2, 2, 310, size}).to(type).narrow(2, 4, num_keys);
          const auto values = at::randn({2, 2, 310, size}).to(type).narrow(2, 4, num_keys);
          const auto q = 2 * at::randn({2, 2 * group, size});
          const auto mask = num_keys % 2 == 0 ? torch::Tensor() : at::rand({2, num_keys}) < 0.7;
          if (mask.defined()) mask.select(1, num_keys - 1).fill_(true);
          EXPECT_TENSOR_NEAR(decode_attention(q, keys, values, mask),
                             exact_attention(q, keys, values, mask).to(torch::kFloat), 1e-5)
              << size << " " << num_keys << " " << group;
        }
      }
    }
  }
}

TEST_P(DecodeAttentionTest, LargeScoresDoNotOverflow) {
  const auto q = 100 * at::randn({1, 2, 64}), keys = 100 * at::randn({1, 2, 200, 64});
  const auto values = at::randn({1, 2, 200, 64});
  // Scores of some 1e4 with errors of 1e-3 give weights that err by as much.
  EXPECT_TENSOR_NEAR(decode_attention(q, keys, values),
                     exact_attention(q, keys, values, {}).to(torch::kFloat), 1e-2);
}

TEST_P(DecodeAttentionTest, ASequenceThatSeesNothingGetsZeros) {
  const auto q = at::randn({2, 2, 8});
  const auto keys = at::randn({2, 1, 150, 8}), values = at::randn({2, 1, 150, 8});
  const auto mask = at::rand({2, 150}) < 2.0;
  mask[0].fill_(false);
  mask[1].narrow(0, 0, 140).fill_(false);  // all of the first piece
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const auto y = decode_attention(q.to(type), keys.to(type), values.to(type), mask);
    EXPECT_EQ(y[0].abs().max().item<double>(), 0.0);
    EXPECT_TENSOR_NEAR(y[1].to(torch::kDouble), exact_attention(q, keys, values, mask)[1], 1e-5);
  }
}

TEST_P(DecodeAttentionTest, OtherTypesGiveTheSame) {
  const auto q = at::randn({2, 6, 8}, torch::kDouble);
  const auto keys = at::randn({2, 3, 40, 8}, torch::kDouble);
  const auto values = at::randn({2, 3, 40, 8}, torch::kDouble);
  EXPECT_TENSOR_NEAR(decode_attention(q, keys, values), exact_attention(q, keys, values, {}),
                     1e-12);
  EXPECT_THROW(decode_attention(at::randn({2, 4, 8}), keys, values), c10::Error);
}

TEST_P(DecodeAttentionTest, BitsDoNotDependOnThreads) {
  const auto q = at::randn({1, 9, 64});
  const auto keys = at::randn({1, 3, 1000, 64}), values = at::randn({1, 3, 1000, 64});
  EXPECT_TRUE(same_bits_for_any_thread_count([&] { return decode_attention(q, keys, values); }));
}

}  // namespace
}  // namespace lowbank
