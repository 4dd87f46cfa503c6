#include "data/token_masking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cross_entropy.h"

namespace lowbank {
namespace {

constexpr std::int64_t kMask = 3;

const MaskingRule kRule = {.mask_id = kMask, .vocab_size = 1000, .special_ids = {0, 1, 2, kMask}};

struct Masked {
  std::vector<std::int64_t> ids, targets;
  std::int64_t num_chosen = 0;
};

Masked mask(const std::vector<std::int64_t>& ids, std::uint64_t seed) {
  Masked out{.ids = ids, .targets = std::vector<std::int64_t>(ids.size())};
  out.num_chosen = mask_tokens_(out.ids, out.targets, kRule, RandomKey(seed));
  return out;
}

// Tokens 100, 101, ... between [CLS] (1) and [SEP] (2), with padding (0) behind.
std::vector<std::int64_t> sequence(std::size_t num_tokens) {
  std::vector<std::int64_t> ids(num_tokens + 5, 0);
  ids.front() = 1;
  std::iota(ids.begin() + 1, ids.begin() + 1 + static_cast<std::ptrdiff_t>(num_tokens), 100);
  ids[num_tokens + 1] = 2;
  return ids;
}

TEST(TokenMasking, ChoosesThePublishedShareOfTheTokensThatAreNotSpecial) {
  for (const auto& [num_tokens, num_chosen] :
       {std::pair(100, 15), {20, 3}, {10, 2}, {9, 1}, {1, 1}}) {
    const auto ids = sequence(static_cast<std::size_t>(num_tokens));
    const auto masked = mask(ids, 7);
    EXPECT_EQ(masked.num_chosen, num_chosen) << num_tokens;
    std::int64_t num_targets = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (masked.targets[i] == kIgnoreIndex) {
        EXPECT_EQ(masked.ids[i], ids[i]) << "a token that is not asked for was changed";
        continue;
      }
      ++num_targets;
      EXPECT_EQ(masked.targets[i], ids[i]);
      EXPECT_GE(ids[i], 100) << "a special token was chosen";
    }
    EXPECT_EQ(num_targets, num_chosen) << num_tokens;
  }
}

TEST(TokenMasking, EightInTenAreHiddenOneIsReplacedAndOneStays) {
  const auto ids = sequence(200);
  double num_chosen = 0, num_masked = 0, num_kept = 0, num_replaced = 0;
  std::vector<double> times_chosen(ids.size());
  constexpr std::uint64_t kRounds = 2000;
  for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
    const auto masked = mask(ids, seed);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (masked.targets[i] == kIgnoreIndex) continue;
      ++num_chosen;
      ++times_chosen[i];
      const bool is_kept = masked.ids[i] == ids[i];
      num_masked += masked.ids[i] == kMask;
      num_kept += is_kept;
      num_replaced += masked.ids[i] != kMask && !is_kept;
      if (masked.ids[i] != kMask) {
        EXPECT_FALSE(kRule.special_ids.contains(masked.ids[i]));
        EXPECT_LT(masked.ids[i], kRule.vocab_size);
      }
    }
  }
  EXPECT_EQ(num_chosen, 30 * kRounds);
  // Five standard deviations of a share of 60,000 draws: 0.008 and 0.006.
  EXPECT_NEAR(num_masked / num_chosen, 0.8, 0.008);
  EXPECT_NEAR(num_kept / num_chosen, 0.1, 0.006);
  EXPECT_NEAR(num_replaced / num_chosen, 0.1, 0.006);
  for (std::size_t i = 1; i <= 200; ++i) {
    // 2,000 draws at 0.15: five standard deviations are 0.04.
    EXPECT_NEAR(times_chosen[i] / kRounds, 0.15, 0.04) << i;
  }
}

TEST(TokenMasking, DependsOnTheKeyAndLeavesASequenceOfSpecialTokensAlone) {
  const auto ids = sequence(50);
  EXPECT_EQ(mask(ids, 1).ids, mask(ids, 1).ids);
  EXPECT_NE(mask(ids, 1).targets, mask(ids, 2).targets);
  const std::vector<std::int64_t> special = {1, 2, 0, 0};
  const auto masked = mask(special, 1);
  EXPECT_EQ(masked.num_chosen, 0);
  EXPECT_EQ(masked.ids, special);
}

}  // namespace
}  // namespace lowbank
