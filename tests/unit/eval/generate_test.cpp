#include "eval/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "core/error.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using testing::TempFolder;
using Ids = std::vector<std::int64_t>;

std::shared_ptr<LanguageModel> random_model() {
  return make_random_model({{"model_type", "llama"},
                            {"vocab_size", 40},
                            {"hidden_size", 16},
                            {"intermediate_size", 24},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", 2},
                            {"num_key_value_heads", 1},
                            {"max_position_embeddings", 32},
                            {"rms_norm_eps", 1e-5},
                            {"initializer_range", 0.5},
                            {"tie_word_embeddings", true}},
                           RandomKey(5));
}

Ids generate(LanguageModel& model, const Ids& prompt, std::int64_t count,
             const SamplingOptions& options, const Ids& stop = {}, std::uint64_t seed = 0) {
  const std::vector<Prompt> prompts = {{.ids = prompt, .key = RandomKey(seed)}};
  return generate_tokens(model, prompts, count, stop, options, [](std::size_t, std::int64_t) {})
      .front();
}

TEST(Generate, GreedyTokensAreTheArgmaxOfTheWholePrefixRunAtOnce) {
  const auto model = random_model();
  const Ids prompt = {3, 17, 5};
  const auto new_ids = generate(*model, prompt, 12, {.greedy = true});
  ASSERT_EQ(new_ids.size(), 12u);
  const torch::NoGradGuard no_grad;
  Ids prefix = prompt;
  for (const auto id : new_ids) {
    const auto logits = model->forward(at::tensor(prefix).unsqueeze(0))[0][-1];
    EXPECT_EQ(id, logits.argmax().item<std::int64_t>());
    prefix.push_back(id);
  }
}

TEST(Generate, TheSameSeedDrawsTheSameTokensAndALongerRunOnlyAddsSome) {
  const auto model = random_model();
  const SamplingOptions options = {.temperature = 2.0, .top_k = 30, .top_p = 0.95};
  const auto ten = generate(*model, {1}, 10, options, {}, 7);
  auto twenty = generate(*model, {1}, 20, options, {}, 7);
  EXPECT_NE(generate(*model, {1}, 20, options, {}, 8), twenty);
  twenty.resize(10);
  EXPECT_EQ(ten, twenty);
}

TEST(Generate, StopsAfterTheFirstStopToken) {
  const auto model = random_model();
  const auto free = generate(*model, {1}, 20, {.temperature = 3.0});
  const std::int64_t stop = free[4];
  const auto stopped = generate(*model, {1}, 20, {.temperature = 3.0}, {99, stop});
  EXPECT_EQ(stopped.back(), stop);
  EXPECT_LE(stopped.size(), 5u);
  EXPECT_EQ(std::count(stopped.begin(), stopped.end(), stop), 1);
}

TEST(Generate, ABatchOfPaddedPromptsGivesWhatTheyGiveOneByOne) {
  const std::vector<Ids> texts = {{3, 17, 5, 9, 1}, {8}, {2, 4, 30}, {8}};
  const auto mamba = make_random_model({{"model_type", "mamba"},
                                        {"vocab_size", 40},
                                        {"hidden_size", 16},
                                        {"state_size", 4},
                                        {"num_hidden_layers", 2},
                                        {"initializer_range", 0.5}},
                                       RandomKey(5));
  for (const auto& model : {random_model(), mamba}) {
    for (const SamplingOptions& options :
         {SamplingOptions{.greedy = true},
          SamplingOptions{.temperature = 1.5, .top_k = 30, .top_p = 0.95}}) {
      std::vector<Prompt> prompts;
      std::vector<Ids> alone, told(texts.size());
      Ids stop;
      for (std::size_t i = 0; i < texts.size(); ++i) {
        prompts.push_back({.ids = texts[i], .key = RandomKey(i)});
        // The second row ends early, and the others go on.
        if (i == 1) stop = {generate(*model, texts[i], 12, options, {}, i)[3]};
      }
      for (std::size_t i = 0; i < texts.size(); ++i) {
        alone.push_back(generate(*model, texts[i], 12, options, stop, i));
      }
      const auto together =
          generate_tokens(*model, prompts, 12, stop, options,
                          [&](std::size_t i, std::int64_t id) { told[i].push_back(id); });
      EXPECT_EQ(together, alone);
      EXPECT_EQ(told, together);
      EXPECT_LT(together[1].size(), 12u);
    }
  }
  EXPECT_TRUE(generate_tokens(*mamba, {}, 12, {}, {}, [](std::size_t, std::int64_t) {}).empty());
}

TEST(Generate, RefusesWhatTheModelCannotDo) {
  const auto model = random_model();
  EXPECT_THROW(generate(*model, {}, 1, {}), ConfigError);
  EXPECT_THROW(generate(*model, {40}, 1, {}), ConfigError);
  EXPECT_THROW(generate(*model, {-1}, 1, {}), ConfigError);
  EXPECT_THROW(generate(*model, {1}, 32, {}), ConfigError);
  EXPECT_THROW(generate(*model, {1}, std::numeric_limits<std::int64_t>::max(), {}), ConfigError);
  EXPECT_EQ(generate(*model, {1}, 31, {}).size(), 31u);
  EXPECT_TRUE(generate(*model, {1}, 0, {}).empty());
}

TEST(ChooseToken, FollowsTheSoftmaxOfTheTemperature) {
  const std::vector<float> logits = {0.0f, 1.0f, -1.0f, 2.0f};
  const double temperature = 1.7;
  const int num_draws = 20000;
  std::vector<float> uniform(num_draws);
  fill_uniform(uniform, RandomKey(11));
  std::map<std::int64_t, int> counts;
  for (const float u : uniform) ++counts[choose_token(logits, {.temperature = temperature}, u)];
  double total = 0;
  for (const float logit : logits) total += std::exp(logit / temperature);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double p = std::exp(logits[i] / temperature) / total;
    const double sigma = std::sqrt(p * (1 - p) / num_draws);
    EXPECT_NEAR(counts[static_cast<std::int64_t>(i)] / static_cast<double>(num_draws), p,
                4 * sigma);
  }
}

std::vector<std::int64_t> reachable(const std::vector<float>& logits, const SamplingOptions& o) {
  std::map<std::int64_t, int> seen;
  for (int i = 0; i < 2000; ++i) ++seen[choose_token(logits, o, (i + 0.5f) / 2000.0f)];
  std::vector<std::int64_t> ids;
  for (const auto& [id, count] : seen) ids.push_back(id);
  return ids;
}

TEST(ChooseToken, TopKAndTopPKeepTheMostLikelyOnes) {
  // Probabilities 0.1, 0.4, 0.2, 0.3.
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f),
                                     std::log(0.3f)};
  EXPECT_EQ(reachable(logits, {}), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(reachable(logits, {.top_k = 2}), (Ids{1, 3}));
  EXPECT_EQ(reachable(logits, {.top_p = 0.65}), (Ids{1, 3}));
  EXPECT_EQ(reachable(logits, {.top_p = 0.75}), (Ids{1, 2, 3}));
  EXPECT_EQ(reachable(logits, {.top_p = 0.01}), (Ids{1}));
  // After top_k = 2 the rest is 4/7 and 3/7: 0.5 of it is one token, 0.65 are two.
  EXPECT_EQ(reachable(logits, {.top_k = 2, .top_p = 0.5}), (Ids{1}));
  EXPECT_EQ(reachable(logits, {.top_k = 2, .top_p = 0.65}), (Ids{1, 3}));
  // Ten times colder leaves hardly anything but the best.
  EXPECT_EQ(reachable(logits, {.temperature = 0.02}), (Ids{1}));
}

TEST(ChooseToken, GreedyTakesTheFirstOfEqualsAndRefusesNaN) {
  EXPECT_EQ(choose_token(std::vector<float>{1.0f, 3.0f, 3.0f}, {.greedy = true}, 0.9f), 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(choose_token(std::vector<float>{1.0f, nan}, {.greedy = true}, 0.5f), ResourceError);
  EXPECT_THROW(choose_token(std::vector<float>{nan, 1.0f}, {}, 0.5f), ResourceError);
}

TEST(StopIds, ComeFromGenerationConfigThenFromConfig) {
  const TempFolder folder;
  EXPECT_EQ(read_stop_ids(folder.path()), Ids{});
  folder.file("config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(read_stop_ids(folder.path()), Ids{7});
  folder.file("generation_config.json", R"({"eos_token_id": [2, 1]})");
  EXPECT_EQ(read_stop_ids(folder.path()), (Ids{2, 1}));
  folder.file("generation_config.json", R"({"bos_token_id": 1})");
  EXPECT_EQ(read_stop_ids(folder.path()), Ids{7});
  folder.file("config.json", R"({"eos_token_id": "x"})");
  EXPECT_THROW(read_stop_ids(folder.path()), IoError);
}

}  // namespace
}  // namespace lowbank
