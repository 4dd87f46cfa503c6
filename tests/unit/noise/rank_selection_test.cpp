#include "noise/rank_selection.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include "torch_support.h"

namespace lowbank {
namespace {

TEST(RankSelection, ProtectedRanksAreRoundedAndAtLeastOne) {
  EXPECT_EQ(num_protected_ranks(0, 46), 0);
  EXPECT_EQ(num_protected_ranks(0.001, 46), 1);
  EXPECT_EQ(num_protected_ranks(0.05, 46), 2);   // 2.3
  EXPECT_EQ(num_protected_ranks(0.25, 46), 12);  // 11.5
  EXPECT_EQ(num_protected_ranks(1, 46), 46);
}

TEST(RankSelection, TheMostImportantGoFirstAndEqualOnesByIndex) {
  const auto order = order_ranks(at::tensor({1.0f, 3.0f, 1.0f, 2.0f}));
  EXPECT_TRUE(order.equal(at::tensor({1, 3, 0, 2}, at::kLong)));
  EXPECT_TRUE(protected_mask(order, 2).equal(at::tensor({0, 1, 0, 1}).to(at::kBool)));
}

TEST(RankSelection, ARandomOrderIsAPermutationThatTheKeyDecides) {
  const auto a = random_rank_order(50, RandomKey(1));
  EXPECT_TRUE(std::get<0>(a.sort()).equal(at::arange(50, at::kLong)));
  EXPECT_TRUE(a.equal(random_rank_order(50, RandomKey(1))));
  EXPECT_FALSE(a.equal(random_rank_order(50, RandomKey(2))));
}

}  // namespace
}  // namespace lowbank
