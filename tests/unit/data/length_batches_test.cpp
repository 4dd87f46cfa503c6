#include "data/length_batches.h"

#include <algorithm>
#include <set>

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "torch_support.h"

namespace lowbank {
namespace {

using Batches = std::vector<BatchIndices>;

std::vector<std::int64_t> uneven_lengths(std::int64_t count) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i) lengths.push_back(1 + i * i * 37 % 101);
  return lengths;
}

std::multiset<std::int64_t> all_of(const Batches& batches) {
  std::multiset<std::int64_t> indices;
  for (const auto& batch : batches) indices.insert(batch.begin(), batch.end());
  return indices;
}

std::multiset<std::int64_t> first_numbers(std::int64_t count) {
  std::multiset<std::int64_t> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.insert(i);
  return numbers;
}

/// Places of the padded batches, and those of tokens.
double padded_frac(const Batches& batches, const std::vector<std::int64_t>& lengths) {
  double places = 0, tokens = 0;
  for (const auto& batch : batches) {
    std::int64_t longest = 0;
    for (const auto i : batch) {
      longest = std::max(longest, lengths[static_cast<std::size_t>(i)]);
      tokens += static_cast<double>(lengths[static_cast<std::size_t>(i)]);
    }
    places += static_cast<double>(longest) * static_cast<double>(batch.size());
  }
  return 1 - tokens / places;
}

TEST(LengthBatches, SortedOnesBeginWithTheLongestAndKeepTheOrderOfEqualLengths) {
  const std::vector<std::int64_t> lengths = {3, 9, 3, 1, 9, 3, 5};
  EXPECT_EQ(length_sorted_batches(lengths, 3), (Batches{{1, 4, 6}, {0, 2, 5}, {3}}));
  EXPECT_EQ(length_sorted_batches(lengths, 100), (Batches{{1, 4, 6, 0, 2, 5, 3}}));
  EXPECT_TRUE(length_sorted_batches({}, 4).empty());
  EXPECT_THROW(length_sorted_batches(lengths, 0), c10::Error);
}

TEST(LengthBatches, AnEpochHasEverySequenceOnceInBatchesOfAboutOneLength) {
  for (const std::int64_t count : {1, 7, 16, 17, 100, 1000}) {
    const auto lengths = uneven_lengths(count);
    const auto batches = length_grouped_batches(lengths, 16, RandomKey(1));
    EXPECT_EQ(all_of(batches), first_numbers(count));
    EXPECT_EQ(static_cast<std::int64_t>(batches.size()), (count + 15) / 16);
  }
  const auto lengths = uneven_lengths(4000);
  EXPECT_LT(padded_frac(length_grouped_batches(lengths, 16, RandomKey(1)), lengths), 0.05);
  EXPECT_THROW(length_grouped_batches(lengths, 0, RandomKey(1)), c10::Error);
}

TEST(LengthBatches, EpochsDifferByTheirKeyAlone) {
  const auto lengths = uneven_lengths(500);
  const RandomKey key(5);
  const auto first = length_grouped_batches(lengths, 16, key.derive(std::uint64_t{0}));
  EXPECT_EQ(length_grouped_batches(lengths, 16, key.derive(std::uint64_t{0})), first);
  const auto second = length_grouped_batches(lengths, 16, key.derive(std::uint64_t{1}));
  EXPECT_NE(second, first);
  // Not the same batches in another order either.
  const std::set<BatchIndices> kept(first.begin(), first.end());
  EXPECT_LT(std::count_if(second.begin(), second.end(),
                          [&](const auto& batch) { return kept.contains(batch); }),
            2);
  // Long and short batches come in turns: a sorted epoch would train on the longest texts first.
  std::vector<std::int64_t> longest;
  for (const auto& batch : first) longest.push_back(lengths[static_cast<std::size_t>(batch[0])]);
  EXPECT_FALSE(std::is_sorted(longest.rbegin(), longest.rend()));
}

TEST(LengthBatches, PaddingStandsOnTheRightAndTheMaskSaysWhere) {
  const std::vector<tokenizers::PairEncoding> sequences = {
      {.ids = {5, 6, 7}, .type_ids = {0, 0, 1}},
      {.ids = {8}, .type_ids = {1}},
      {.ids = {9, 9, 9}, .type_ids = {0, 1, 1}}};
  const auto batch = pad_batch(sequences, {1, 0}, /*pad_id=*/2);
  EXPECT_TENSOR_NEAR(batch.ids_BT, at::tensor({8, 2, 2, 5, 6, 7}, at::kLong).view({2, 3}), 0);
  EXPECT_TENSOR_NEAR(batch.type_ids_BT, at::tensor({1, 0, 0, 0, 0, 1}, at::kLong).view({2, 3}), 0);
  EXPECT_TENSOR_NEAR(batch.mask_BT.to(at::kLong),
                     at::tensor({1, 0, 0, 1, 1, 1}, at::kLong).view({2, 3}), 0);
  EXPECT_EQ(batch.mask_BT.scalar_type(), at::kBool);

  EXPECT_FALSE(pad_batch(sequences, {0, 2}, 2).mask_BT.defined()) << "nothing is padded";
  const auto wide = pad_batch(sequences, {0, 2}, 2, /*length=*/5);
  EXPECT_EQ(wide.ids_BT.sizes(), (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(wide.mask_BT.sum().item<std::int64_t>(), 6);
  EXPECT_FALSE(pad_batch(sequences, {0, 2}, 2, /*length=*/3).mask_BT.defined());
}

TEST(LengthBatches, BatchesThatCannotBeMadeAreRefused) {
  const std::vector<tokenizers::PairEncoding> sequences = {
      {.ids = {5, 6, 7}, .type_ids = {0, 0, 1}}, {}};
  EXPECT_THROW(pad_batch(sequences, {}, 0), c10::Error);
  EXPECT_THROW(pad_batch(sequences, {1}, 0), c10::Error);
  EXPECT_THROW(pad_batch(sequences, {0}, 0, 2), c10::Error);
}

}  // namespace
}  // namespace lowbank
