#include "eval/sentence_similarity.h"

#include <limits>

#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/stats.h"
#include "error_text.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::error_text;
using testing::TempFolder;
using Pooling = SentenceEncoder::Pooling;

constexpr const char* kWords = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\ndog\nsat\non\nmat\n";
constexpr const char* kPairs =
    "sentence1\tsentence2\tscore\n"
    "a cat sat\ta dog sat\t3.5\n"
    "a cat\ta cat sat on a mat\t2\n"
    "dog\tcat\t1\n"
    "a dog sat on a cat\ta dog sat on a dog\t4.5\n";

std::shared_ptr<LanguageModel> small_encoder() {
  return make_random_model({{"model_type", "bert"},
                            {"architectures", {"BertModel"}},
                            {"vocab_size", 11},
                            {"hidden_size", 16},
                            {"intermediate_size", 24},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", 2},
                            {"max_position_embeddings", 12},
                            {"initializer_range", 0.5}},
                           RandomKey(11));
}

class SentenceSimilarity : public ::testing::Test {
 protected:
  SentenceSimilarity() : path_(folder_.file("dev.tsv", kPairs)) {}

  SentencePairs open(std::int64_t limit = 0) const {
    return open_sentence_pairs(path_, limit, *tokenizer_, {}, 12);
  }
  void evaluate(const SentencePairs& pairs, Metrics& metrics) const {
    evaluate_sentence_pairs(*model_, pairs, Pooling::kMean, /*batch_size=*/8, RandomKey(0),
                            metrics);
  }

  TempFolder folder_;
  std::string path_;
  std::shared_ptr<LanguageModel> model_ = small_encoder();
  std::unique_ptr<tokenizers::Tokenizer> tokenizer_ =
      tokenizers::open_tokenizer(folder_.file("vocab.txt", kWords));
};

TEST_F(SentenceSimilarity, EverySentenceStandsAloneBetweenItsSpecialTokens) {
  const auto pairs = open();
  ASSERT_EQ(pairs.sentences.size(), 8u);
  EXPECT_EQ(pairs.sentences[0].ids, (std::vector<std::int64_t>{2, 5, 6, 8, 3}));
  EXPECT_EQ(pairs.sentences[4].ids, (std::vector<std::int64_t>{2, 7, 3}));
  EXPECT_EQ(pairs.scores, (std::vector<double>{3.5, 2, 1, 4.5}));
  EXPECT_EQ(pairs.num_tokens, 5 + 5 + 4 + 8 + 3 + 3 + 8 + 8);
}

TEST_F(SentenceSimilarity, LongSentencesAreCutAt128TokensOrAtTheModelsContext) {
  std::string sentence = "cat";
  for (int i = 0; i < 300; ++i) sentence += " cat";
  folder_.file("dev.tsv", "sentence1\tsentence2\tscore\n" + sentence + "\tdog\t1\n");
  EXPECT_EQ(open().sentences[0].ids.size(), 12u);
  EXPECT_EQ(open().sentences[0].ids.back(), 3);
  const SentenceEncoder to_128_tokens{.max_tokens = 128};
  EXPECT_EQ(open_sentence_pairs(path_, /*limit=*/0, *tokenizer_, to_128_tokens, 512)
                .sentences[0]
                .ids.size(),
            128u);
}

TEST_F(SentenceSimilarity, BatchesGiveTheVectorsThatSentencesGiveOneByOne) {
  const auto pairs = open();
  for (const auto pooling : {Pooling::kMean, Pooling::kCls, Pooling::kMax}) {
    std::vector<torch::Tensor> alone;
    {
      const torch::NoGradGuard no_grad;
      for (const auto& sentence : pairs.sentences) {
        const auto hidden_TD =
            model_->hidden_states(at::tensor(sentence.ids, at::kLong).unsqueeze(0)).squeeze(0);
        alone.push_back(pooling == Pooling::kMean  ? hidden_TD.mean(0)
                        : pooling == Pooling::kCls ? hidden_TD[0]
                                                   : hidden_TD.amax(0));
      }
    }
    for (const std::int64_t batch_size : {1, 3, 100}) {
      const auto vectors = pooled_vectors(*model_, pairs.sentences, pooling, pairs.pad_id,
                                          batch_size, /*show_progress=*/false);
      EXPECT_TENSOR_NEAR(vectors, at::stack(alone), 1e-5);  // float32, two layers
    }
  }
}

TEST_F(SentenceSimilarity, TheFiguresAreTheCorrelationsOfCosinesAndScores) {
  const auto pairs = open();
  Metrics metrics;
  evaluate(pairs, metrics);
  const auto vectors =
      pooled_vectors(*model_, pairs.sentences, Pooling::kMean, pairs.pad_id, 8, false);
  std::vector<double> cosines;
  for (std::int64_t i = 0; i < 8; i += 2) {
    const auto a = vectors[i].to(at::kDouble), b = vectors[i + 1].to(at::kDouble);
    cosines.push_back((a.dot(b) / (a.norm() * b.norm())).item<double>());
  }
  EXPECT_NEAR(metrics["pearson"].get<double>(), pearson_correlation(cosines, pairs.scores), 1e-12);
  EXPECT_NEAR(metrics["spearman"].get<double>(), spearman_correlation(cosines, pairs.scores),
              1e-12);
  EXPECT_GT(metrics["pearson_stderr"].get<double>(), 0);
  EXPECT_GT(metrics["spearman_stderr"].get<double>(), 0);
  EXPECT_EQ(metrics["num_pairs"], 4);
  EXPECT_EQ(metrics["num_tokens"], pairs.num_tokens);
  EXPECT_GT(metrics["tokens_per_second"].get<double>(), 0);
}

TEST_F(SentenceSimilarity, ALimitTakesTheFirstPairs) {
  EXPECT_EQ(open(/*limit=*/2).scores, (std::vector<double>{3.5, 2}));
}

TEST_F(SentenceSimilarity, ScoresWithoutSpreadAndVectorsThatAreNotFiniteAreRefused) {
  Metrics metrics;
  EXPECT_EQ(error_text<ConfigError>([&] { evaluate(open(/*limit=*/1), metrics); }),
            path_ + ": the scores of its 1 pairs are all 3.5: there is no correlation with them");
  {
    const torch::NoGradGuard no_grad;
    model_->parameters().front().fill_(std::numeric_limits<float>::infinity());
  }
  EXPECT_THROW(evaluate(open(), metrics), ResourceError);
}

}  // namespace
}  // namespace lowbank
