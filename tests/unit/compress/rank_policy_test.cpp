#include "compress/rank_policy.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "error_text.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;

const torch::Tensor& values() {
  static const auto s_R = at::tensor({4.0f, 2.0f, 1.0f, 1.0f});  // energies 16, 4, 1, 1 of 22
  return s_R;
}

std::int64_t rank_of(const std::string& policy, std::int64_t out = 4, std::int64_t in = 4) {
  return RankPolicy(policy).rank("layer", out, in, values());
}

TEST(RankPolicy, BreakEvenIsWhereFactorsHoldAsMuchAsTheMatrix) {
  EXPECT_EQ(break_even_rank(576, 576), 288);
  EXPECT_EQ(break_even_rank(192, 576), 144);
  EXPECT_EQ(break_even_rank(172, 64), 46);  // 11008 / 236 = 46.6
  EXPECT_EQ(break_even_rank(1, 1), 1);
}

TEST(RankPolicy, EachPolicyFollowsItsDefinition) {
  EXPECT_EQ(rank_of("break_even"), 2);
  EXPECT_EQ(rank_of("ratio:0.5"), 1);
  EXPECT_EQ(rank_of("ratio:2"), 4);
  EXPECT_EQ(rank_of("fraction:0.75"), 3);
  EXPECT_EQ(rank_of("fraction:0.01"), 1) << "at least one rank";
  EXPECT_EQ(rank_of("fixed:3"), 3);
  EXPECT_EQ(rank_of("energy:0.7"), 1);   // 16 / 22 = 0.727
  EXPECT_EQ(rank_of("energy:0.75"), 2);  // 20 / 22 = 0.909
  EXPECT_EQ(rank_of("energy:1"), 4);
}

TEST(RankPolicy, AFractionIsNotLostToRounding) {
  EXPECT_EQ(RankPolicy("fraction:0.3").rank("layer", 10, 10, values()), 3);
}

TEST(RankPolicy, TheRankIsDecidedPerLayer) {
  const RankPolicy policy("break_even");
  EXPECT_EQ(policy.rank("q_proj", 576, 576, values()), 288);
  EXPECT_EQ(policy.rank("k_proj", 192, 576, values()), 144);
}

TEST(RankPolicy, ARankAboveTheLayersOwnNamesTheLayer) {
  EXPECT_THAT(testing::error_text<ConfigError>([] { rank_of("fixed:5"); }),
              ::testing::AllOf(HasSubstr("layer"), HasSubstr("5"), HasSubstr("4 x 4")));
}

TEST(RankPolicy, WhatIsNoPolicyIsRefusedWithWhatIs) {
  for (const char* text : {"", "half", "ratio", "ratio:", "ratio:0", "ratio:-1", "fraction:1.5",
                           "energy:nan", "fixed:0", "fixed:2.5", "ratio:1x"}) {
    EXPECT_THAT(testing::error_text<ConfigError>([&] { RankPolicy{text}; }), HasSubstr("rank"))
        << text;
  }
}

}  // namespace
}  // namespace lowbank
