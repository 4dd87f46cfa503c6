#include "data/text_dataset.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::TempFolder;

const std::string kModelFile =
    std::string(LOWBANK_SOURCE_DIR) + "/data/samples/stories260K/tok512.model";

TEST(TextDataset, ExamplesInOrderAreTheTextsTokens) {
  const TempFolder folder;
  const std::string text = "The cat sat on the mat. The dog sat on the cat.";
  const auto tokenizer = tokenizers::open_tokenizer(kModelFile);
  const auto ids = tokenizer->encode(text);
  const TextDataset data(folder.file("a.txt", text), *tokenizer, 7);
  ASSERT_EQ(data.num_tokens(), static_cast<std::int64_t>(ids.size()));
  ASSERT_EQ(data.size(), data.num_tokens() / 7);
  std::vector<std::int64_t> order(static_cast<std::size_t>(data.size()));
  std::iota(order.begin(), order.end(), 0);
  const auto all = data.batch(order);
  EXPECT_EQ(all.scalar_type(), torch::kLong);
  EXPECT_TENSOR_NEAR(all.flatten(), at::tensor(ids).narrow(0, 0, data.size() * 7), 0);
  const std::vector<std::int64_t> two = {1, 0};
  EXPECT_TENSOR_NEAR(data.batch(two)[1], all[0], 0);
}

TEST(TextDataset, WindowsLineEndsAndAMarkMakeNoDifference) {
  const TempFolder folder;
  const auto tokenizer = tokenizers::open_tokenizer(kModelFile);
  const TextDataset a(folder.file("a.txt", "one\ntwo\n"), *tokenizer, 2);
  const TextDataset b(folder.file("b.txt", "\xEF\xBB\xBFone\r\ntwo\r"), *tokenizer, 2);
  const std::vector<std::int64_t> first = {0};
  EXPECT_EQ(a.num_tokens(), b.num_tokens());
  EXPECT_TENSOR_NEAR(a.batch(first), b.batch(first), 0);
}

TEST(TextDataset, ReadsNoFurtherThanItsExamples) {
  const TempFolder folder;
  const auto tokenizer = tokenizers::open_tokenizer(kModelFile);
  std::string text;
  while (text.size() < (std::size_t{4} << 20)) text += "The cat sat on the mat. ";
  const TextDataset few(folder.file("a.txt", text + "\xFF"), *tokenizer, 7, /*max_examples=*/3);
  const TextDataset all(folder.file("b.txt", text), *tokenizer, 7);
  EXPECT_EQ(few.size(), 3);
  const std::vector<std::int64_t> first = {0, 1, 2};
  EXPECT_TENSOR_NEAR(few.batch(first), all.batch(first), 0);
  EXPECT_THROW(TextDataset(folder.path("a.txt"), *tokenizer, 7), IoError);
}

TEST(TextDataset, RefusesATextShorterThanOneExample) {
  const TempFolder folder;
  const auto tokenizer = tokenizers::open_tokenizer(kModelFile);
  const std::string path = folder.file("a.txt", "short");
  EXPECT_THROW(TextDataset(path, *tokenizer, 100), ConfigError);
  EXPECT_THROW(TextDataset(folder.path("absent"), *tokenizer, 2), IoError);
  EXPECT_THROW(TextDataset(folder.file("b.txt", "\xFF"), *tokenizer, 2), IoError);
}

TEST(EpochSampler, EveryEpochShowsEveryExampleOnceInAnotherOrder) {
  EpochSampler sampler(10, RandomKey(7).derive("train"));
  std::vector<std::vector<std::int64_t>> epochs(2);
  for (std::int64_t i = 0; i < 20; ++i)
    epochs[static_cast<std::size_t>(i / 10)].push_back(sampler.at(i));
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(epoch[static_cast<std::size_t>(i)], i);
  }
}

TEST(EpochSampler, APositionDoesNotDependOnWhatWasAskedBefore) {
  const RandomKey key = RandomKey(7).derive("train");
  EpochSampler forward(13, key);
  std::vector<std::int64_t> expected;
  for (std::int64_t i = 0; i < 40; ++i) expected.push_back(forward.at(i));
  EpochSampler backward(13, key);
  for (std::int64_t i = 39; i >= 0; --i) {
    EXPECT_EQ(backward.at(i), expected[static_cast<std::size_t>(i)]);
  }
}

}  // namespace
}  // namespace lowbank
