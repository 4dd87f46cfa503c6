#include "eval/perplexity.h"

#include <cmath>
#include <limits>

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::TempFolder;

const std::string kModel =
    std::string(LOWBANK_SOURCE_DIR) + "/data/samples/stories260K/tok512.model";
const std::string kStory =
    "Once upon a time there was a cat. The cat sat on a mat, and the mat was red.\n"
    "A dog came by. \"Hello,\" said the dog, \"may I sit on the mat too?\"\n";

/// A small untrained Llama with the vocabulary of the sample tokenizer.
std::shared_ptr<LanguageModel> small_model() {
  return make_random_model({{"model_type", "llama"},
                            {"vocab_size", 512},
                            {"hidden_size", 16},
                            {"intermediate_size", 24},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", 2},
                            {"num_key_value_heads", 2},
                            {"max_position_embeddings", 64},
                            {"rms_norm_eps", 1e-5},
                            {"initializer_range", 0.3},
                            {"tie_word_embeddings", true}},
                           RandomKey(3));
}

class Perplexity : public ::testing::Test {
 protected:
  struct Case : PerplexityOptions {
    std::string data;
    std::int64_t batch_size = 8;
  };
  Case config(std::int64_t context) {
    Case c;
    c.data = folder_.file("story.txt", kStory);
    c.context = context;
    return c;
  }
  PerplexityText open(const Case& c) const {
    return open_perplexity_text(c.data, c, *tokenizer_, /*max_context=*/64);
  }
  PerplexityResult score(const Case& c) const {
    return score_text(*model_, open(c), c.batch_size, /*show_progress=*/false);
  }
  /// The definition, in double: every scored token's -log softmax, one window after the other.
  double naive_nll(const PerplexityText& text) const {
    double sum = 0;
    for (const auto& window : text.windows) {
      std::vector<std::int64_t> row(static_cast<std::size_t>(window.length));
      text.ids.copy(static_cast<std::size_t>(window.begin), row);
      const auto ids = at::tensor(row, at::kLong);
      const auto logits = model_->forward(ids.unsqueeze(0))[0].to(torch::kDouble);
      for (std::int64_t t = window.length - window.num_scored; t < window.length; ++t) {
        double total = 0;
        for (std::int64_t v = 0; v < 512; ++v) total += std::exp(logits[t - 1][v].item<double>());
        sum += std::log(total) - logits[t - 1][ids[t].item<std::int64_t>()].item<double>();
      }
    }
    return sum;
  }

  TempFolder folder_;
  std::unique_ptr<tokenizers::Tokenizer> tokenizer_ = tokenizers::open_tokenizer(kModel);
  std::shared_ptr<LanguageModel> model_ = small_model();
};

TEST_F(Perplexity, EqualsTheDefinitionComputedInDoubles) {
  const torch::NoGradGuard no_grad;
  auto c = config(16);
  c.keep_last = true;
  for (const std::int64_t stride : {0, 5}) {
    c.stride = stride;
    const auto text = open(c);
    // float32 logits of size about 1: 1e-6 each over about 80 predictions.
    EXPECT_NEAR(score(c).nll_sum, naive_nll(text), 1e-4);
  }
}

TEST_F(Perplexity, ChunksPredictAllButTheirFirstTokenAndTheRestIsDropped) {
  const auto text = open(config(14));
  const auto num_tokens = static_cast<std::int64_t>(text.ids.size());
  ASSERT_GT(num_tokens % 14, 1);
  ASSERT_EQ(static_cast<std::int64_t>(text.windows.size()), num_tokens / 14);
  for (std::size_t i = 0; i < text.windows.size(); ++i) {
    EXPECT_EQ(text.windows[i].begin, static_cast<std::int64_t>(i) * 14);
    EXPECT_EQ(text.windows[i].num_scored, 13);
  }
  auto keep = config(14);
  keep.keep_last = true;
  const auto kept = open(keep);
  EXPECT_EQ(kept.windows.size(), text.windows.size() + 1);
  EXPECT_EQ(kept.windows.back().length, num_tokens % 14);
  EXPECT_EQ(kept.windows.back().num_scored, num_tokens % 14 - 1);
}

TEST_F(Perplexity, StrideScoresEveryTokenButTheFirstExactlyOnce) {
  for (const std::int64_t stride : {1, 3, 7, 15}) {
    auto c = config(16);
    c.stride = stride;
    c.keep_last = true;
    const auto text = open(c);
    std::vector<int> times(text.ids.size(), 0);
    for (std::size_t i = 0; i < text.windows.size(); ++i) {
      const auto& w = text.windows[i];
      EXPECT_EQ(w.begin, static_cast<std::int64_t>(i) * stride);
      if (i > 0 && w.length == 16) {
        EXPECT_EQ(w.num_scored, stride);
      }
      for (std::int64_t t = w.begin + w.length - w.num_scored; t < w.begin + w.length; ++t) {
        ++times[static_cast<std::size_t>(t)];
      }
    }
    EXPECT_EQ(times[0], 0);
    for (std::size_t t = 1; t < times.size(); ++t) EXPECT_EQ(times[t], 1) << t;
  }
}

TEST_F(Perplexity, BatchSizeHasNoEffect) {
  auto c = config(16);
  c.stride = 4;
  c.keep_last = true;
  c.batch_size = 1;
  const auto one = score(c);
  for (const std::int64_t batch_size : {2, 7, 100}) {
    c.batch_size = batch_size;
    const auto many = score(c);
    EXPECT_EQ(many.num_predicted, one.num_predicted);
    EXPECT_NEAR(many.mean_nll(), one.mean_nll(), 1e-6);  // float32 products in another order
  }
}

TEST_F(Perplexity, MaxChunksAndMaxCharsCutTheText) {
  auto c = config(16);
  c.max_chunks = 2;
  EXPECT_EQ(open(c).windows.size(), 2u);
  c = config(4);
  c.data = folder_.file("accents.txt", "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\r\n\r\n");
  c.max_chars = 5;  // four accents and one line end: the \r\n counts once
  c.keep_last = true;
  const auto text = open(c);
  std::vector<std::int64_t> ids(text.ids.size());
  text.ids.copy(0, ids);
  EXPECT_EQ(tokenizer_->decode(ids), "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\n");
}

TEST_F(Perplexity, WordsAndBytesAreThoseUnderScoredTokens) {
  auto c = config(64);
  c.data = folder_.file("short.txt", "Once upon a time");  // tokens of 4, 5, 2 and 5 bytes
  c.context = 4;
  auto text = open(c);
  EXPECT_EQ(text.num_bytes, 12);  // without "Once", which nothing predicts
  EXPECT_EQ(text.num_words, 3);
  c.special = true;  // a start token predicts "Once"
  c.context = 5;
  text = open(c);
  EXPECT_EQ(text.num_bytes, 16);
  EXPECT_EQ(text.num_words, 4);
  c.special = false;
  c.context = 2;  // [Once upon] [a time]: "upon" and "time" count
  text = open(c);
  EXPECT_EQ(text.num_bytes, 10);
  EXPECT_EQ(text.num_words, 2);
  c.stride = 1;  // windows that touch are one run of text
  text = open(c);
  EXPECT_EQ(text.num_bytes, 12);
  EXPECT_EQ(text.num_words, 3);
}

TEST_F(Perplexity, CountsTheSameInALongTextThatIsReadInParts) {
  std::string story;
  while (story.size() < (std::size_t{1} << 20)) story += kStory + "  two  spaces\t\xC3\xA9 ";
  const auto encoding = tokenizer_->encode_with_offsets(story);
  auto c = config(48);
  c.data = folder_.file("long.txt", story);
  c.keep_last = true;
  for (const std::int64_t stride : {0, 37}) {
    c.stride = stride;
    const auto text = open(c);
    ASSERT_EQ(text.ids.size(), encoding.ids.size());
    std::int64_t num_bytes = 0;
    std::int64_t num_words = 0;
    // Without overlap every window is a run of its own; with it all windows are one.
    for (const auto& window : text.windows) {
      const std::int64_t begin = stride == 0 ? window.begin + window.length - window.num_scored : 1;
      const std::int64_t end = stride == 0 ? window.begin + window.length
                                           : static_cast<std::int64_t>(encoding.ids.size());
      const auto from =
          static_cast<std::size_t>(encoding.ends[static_cast<std::size_t>(begin - 1)]);
      const auto to = static_cast<std::size_t>(encoding.ends[static_cast<std::size_t>(end - 1)]);
      num_bytes += static_cast<std::int64_t>(to - from);
      num_words += count_words(std::string_view(story).substr(from, to - from));
      if (stride != 0) break;
    }
    EXPECT_EQ(text.num_bytes, num_bytes);
    EXPECT_EQ(text.num_words, num_words);
  }
}

TEST_F(Perplexity, ReadsNoFurtherThanItsChunks) {
  std::string story;
  while (story.size() < (std::size_t{4} << 20)) story += kStory;
  auto c = config(16);
  c.max_chunks = 3;
  c.stride = 5;
  const auto expected = open_perplexity_text(folder_.file("a.txt", story), c, *tokenizer_, 64);
  c.data = folder_.file("b.txt", story + "\xFF");  // an error for who reads it
  const auto text = open(c);
  EXPECT_EQ(text.ids.size(), 16u + 2 * 5);
  EXPECT_TRUE(text.ids == expected.ids);
  EXPECT_EQ(text.num_words, expected.num_words);
  c.max_chunks = 0;
  EXPECT_THROW(open(c), IoError);
  c.max_chars = 1000;
  EXPECT_NO_THROW(open(c));
}

TEST_F(Perplexity, ATextShorterThanAChunkIsRefusedUnlessTheRestIsKept) {
  auto c = config(64);
  c.data = folder_.file("short.txt", "Once upon a time");
  EXPECT_THROW(open(c), ConfigError);
  c.keep_last = true;
  EXPECT_EQ(open(c).windows.size(), 1u);
  EXPECT_EQ(score(c).num_predicted, 3);
  c.data = folder_.file("one.txt", "Once");
  EXPECT_THROW(open(c), ConfigError);
  c.data = folder_.file("empty.txt", "");
  EXPECT_THROW(open(c), ConfigError);
}

TEST_F(Perplexity, RefusesAContextLongerThanTheModels) {
  EXPECT_THROW(open(config(65)), ConfigError);
}

TEST_F(Perplexity, ReportsTheFourFormsOfOneSum) {
  auto c = config(16);
  const auto text = open(c);
  const auto result = score(c);
  const PerplexityMetrics metrics = perplexity_metrics(result, text, c);
  const double nll = metrics.nll_sum;
  const auto bytes = static_cast<double>(text.num_bytes);
  EXPECT_DOUBLE_EQ(metrics.perplexity, std::exp(nll / static_cast<double>(result.num_predicted)));
  EXPECT_DOUBLE_EQ(metrics.word_perplexity, std::exp(nll / static_cast<double>(text.num_words)));
  EXPECT_DOUBLE_EQ(metrics.byte_perplexity, std::exp(nll / bytes));
  EXPECT_NEAR(std::exp2(metrics.bits_per_byte), metrics.byte_perplexity, 1e-9);
  EXPECT_EQ(metrics.stride, 16);
  EXPECT_EQ(metrics.num_chunks, text.windows.size());
}

TEST_F(Perplexity, APredictionThatIsNoNumberIsAnErrorOnlyWhereAsked) {
  const torch::NoGradGuard no_grad;
  model_->parameters().back().fill_(std::numeric_limits<float>::quiet_NaN());
  const auto c = config(16);
  EXPECT_THROW(score(c), ResourceError);
  const auto result = score_text(*model_, open(c), 8, false, /*require_finite=*/false);
  EXPECT_TRUE(std::isnan(result.nll_sum));
}

}  // namespace
}  // namespace lowbank
