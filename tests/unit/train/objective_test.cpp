#include "train/objective.h"

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/core/Reduction.h>
#include <ATen/ops/cross_entropy_loss.h>

#include "core/error.h"
#include "core/text.h"
#include "kernels/cross_entropy.h"
#include "models/token_loss.h"
#include "train/sentence_examples.h"
#include "train_test_support.h"

namespace lowbank {
namespace {

/// ByteTokenizer with BERT's special tokens, whose ids no letter has.
class TinyBertTokenizer : public testing::ByteTokenizer {
 public:
  tokenizers::PairEncoding encode_pair(std::string_view first,
                                       std::optional<std::string_view> second,
                                       std::int64_t) const override {
    tokenizers::PairEncoding out;
    const auto add = [&](std::vector<std::int64_t> ids, std::int64_t type) {
      out.ids.insert(out.ids.end(), ids.begin(), ids.end());
      out.type_ids.resize(out.ids.size(), type);
    };
    add({1}, 0);
    add(encode(first), 0);
    add({2}, 0);
    if (second.has_value()) {
      add(encode(*second), 1);
      add({2}, 1);
    }
    return out;
  }
  tokenizers::SpecialIds special_ids() const override {
    return {.unk = 4, .pad = 0, .cls = 1, .sep = 2, .mask = 3};
  }
};

std::shared_ptr<LanguageModel> tiny_bert(const std::string& architecture, double dropout,
                                         std::int64_t num_labels = 2, std::uint64_t seed = 3) {
  const nlohmann::ordered_json config = {{"model_type", "bert"},
                                         {"architectures", {architecture}},
                                         {"vocab_size", 64},
                                         {"hidden_size", 16},
                                         {"num_hidden_layers", 2},
                                         {"num_attention_heads", 2},
                                         {"intermediate_size", 24},
                                         {"max_position_embeddings", 48},
                                         {"num_labels", num_labels},
                                         {"hidden_dropout_prob", dropout},
                                         {"attention_probs_dropout_prob", dropout},
                                         {"initializer_range", 0.1}};
  return make_random_model(config, RandomKey(seed));
}

std::vector<Visit> visits_of(const std::vector<std::int64_t>& examples, std::int64_t epoch) {
  std::vector<Visit> visits;
  for (const auto example : examples) visits.push_back({.example = example, .epoch = epoch});
  return visits;
}

/// Sentences of letters; class 1 where there is an x. Of lengths 3 to 14.
std::vector<SentenceExample> x_sentences(std::int64_t count) {
  std::vector<SentenceExample> examples;
  const RandomKey key = RandomKey(5).derive("sentences");
  for (std::int64_t i = 0; i < count; ++i) {
    const auto letters = key.derive(static_cast<std::uint64_t>(i));
    std::string text;
    for (std::uint64_t c = 0; c < 3 + letters.below(12, 0); ++c) {
      text += static_cast<char>('a' + letters.below(20, c + 1));
    }
    if (i % 2 == 1) text[letters.below(text.size(), 100)] = 'x';
    examples.push_back({.first = text, .second = "", .label = static_cast<double>(i % 2)});
  }
  return examples;
}

SentenceTask x_task() {
  return {.name = "x",
          .first_column = "text",
          .second_column = "",
          .label_column = "label",
          .classes = {"no", "yes"}};
}

std::shared_ptr<SentenceExamples> x_examples(std::int64_t count) {
  return std::make_shared<SentenceExamples>(x_task(), x_sentences(count), TinyBertTokenizer(),
                                            /*max_tokens=*/48, /*num_token_types=*/2);
}

class ObjectiveTest : public testing::SeededTest {
 protected:
  std::shared_ptr<MaskedTokenExamples> masked_examples(std::uint64_t seed = 1) const {
    return std::make_shared<MaskedTokenExamples>(folder_.file("toy.txt", testing::toy_text(40)),
                                                 TinyBertTokenizer(), 18, RandomKey(seed));
  }
  // metrics.jsonl without what depends on time.
  std::vector<nlohmann::ordered_json> metric_lines(const std::string& run) const {
    std::vector<nlohmann::ordered_json> lines;
    const std::string text = read_text(folder_.path(run + "/metrics.jsonl"));
    for (const auto line : split_lines(text)) {
      lines.push_back(nlohmann::ordered_json::parse(line));
      lines.back().erase("tokens_per_second");
    }
    return lines;
  }
  void expect_near_lines(const std::string& a, const std::string& b) const {
    const auto lines_a = metric_lines(a), lines_b = metric_lines(b);
    ASSERT_EQ(lines_a.size(), lines_b.size());
    for (std::size_t i = 0; i < lines_a.size(); ++i) {
      for (const auto* key : {"loss", "grad_norm"}) {
        // Means of float32 losses and sums of gradients below 10, in another order.
        EXPECT_NEAR(lines_a[i][key].get<double>(), lines_b[i][key].get<double>(), 1e-4) << key;
      }
    }
  }
  testing::TempFolder folder_;
};

TEST_F(ObjectiveTest, TokenLossIsTheCrossEntropyOfTheRowsThatCount) {
  for (const auto& model : {testing::tiny_model(), tiny_bert("BertForMaskedLM", 0)}) {
    const auto hidden_MD = at::randn({5, 16});
    const auto targets_M = torch::tensor({7L, kIgnoreIndex, 63L, 0L, kIgnoreIndex});
    const auto sum = token_nll_sum(*model, hidden_MD, targets_M);
    const auto expected = at::cross_entropy_loss(model->head(hidden_MD.unsqueeze(0)).squeeze(0),
                                                 targets_M, {}, at::Reduction::Sum);
    EXPECT_NEAR(sum.item<double>(), expected.item<double>(), 1e-5);  // three float32 terms
    const auto terms_M = token_nll(*model, hidden_MD, targets_M);
    EXPECT_EQ(terms_M[1].item<double>(), 0);
    EXPECT_NEAR(terms_M.sum().item<double>(), expected.item<double>(), 1e-5);
    EXPECT_FALSE(terms_M.requires_grad());
    const auto parameter = model->parameters()[0];
    const auto gradient = [&](const torch::Tensor& loss) {
      parameter.mutable_grad() = torch::Tensor();
      loss.backward();
      return parameter.grad().clone();
    };
    EXPECT_TENSOR_NEAR(gradient(sum), gradient(expected), 1e-5);
  }
}

TEST_F(ObjectiveTest, MaskedExamplesStandBetweenTheirMarksAndChangeWithTheEpoch) {
  const auto examples = masked_examples();
  const auto batch = examples->batch(visits_of({0, 3}, 0));
  EXPECT_EQ(batch.input.ids_BT.sizes(), (std::vector<std::int64_t>{2, 18}));
  EXPECT_EQ(batch.weight, 4);  // 15 % of 16 tokens, of each
  EXPECT_EQ((batch.targets != kIgnoreIndex).sum().item<double>(), batch.weight);
  EXPECT_TRUE((batch.input.ids_BT.select(1, 0) == 1).all().item<bool>());
  EXPECT_TRUE((batch.input.ids_BT.select(1, 17) == 2).all().item<bool>());
  EXPECT_TRUE((batch.targets.select(1, 0) == kIgnoreIndex).all().item<bool>());
  // The row of an example is the same in another batch of the epoch, and another in another epoch.
  const auto alone = examples->batch(visits_of({3}, 0));
  EXPECT_TRUE(alone.targets[0].equal(batch.targets[1]));
  EXPECT_TRUE(alone.input.ids_BT[0].equal(batch.input.ids_BT[1]));
  EXPECT_FALSE(examples->batch(visits_of({3}, 1)).targets[0].equal(batch.targets[1]));
  EXPECT_FALSE(masked_examples(2)->batch(visits_of({3}, 0)).targets[0].equal(batch.targets[1]));
}

TEST_F(ObjectiveTest, ATokenizerWithoutAMaskAndAContextWithoutRoomAreRefused) {
  const auto file = folder_.file("toy.txt", testing::toy_text(40));
  EXPECT_THROW(MaskedTokenExamples(file, testing::ByteTokenizer(), 18, RandomKey(1)), ConfigError);
  EXPECT_THROW(MaskedTokenExamples(file, TinyBertTokenizer(), 2, RandomKey(1)), ConfigError);
}

TEST_F(ObjectiveTest, TheMaskedGradientDoesNotDependOnHowAStepIsCut) {
  auto settings = testing::short_settings();
  settings.options.steps = 3;
  for (const auto& [name, shape] : {std::pair("whole", BatchShape{8, 1}), {"cut", {2, 4}}}) {
    settings.shape = shape;
    ShuffledSource source(masked_examples(), shape, RandomKey(2));
    testing::fit_set(folder_.path(name), *tiny_bert("BertForMaskedLM", 0), TokenObjective(), source,
                     nullptr, settings);
  }
  expect_near_lines("whole", "cut");
}

TEST_F(ObjectiveTest, TheClassifiersGradientDoesNotDependOnHowAStepIsCut) {
  auto settings = testing::short_settings();
  settings.options.steps = 5;  // two epochs of 21 examples, their last steps smaller
  for (const auto& [name, shape] : {std::pair("whole", BatchShape{8, 1}), {"cut", {2, 4}}}) {
    settings.shape = shape;
    const auto examples = x_examples(21);
    LengthGroupedSource source(examples, examples->lengths(), settings.shape, RandomKey(2));
    testing::fit_set(folder_.path(name), *tiny_bert("BertForSequenceClassification", 0),
                     SequenceObjective(), source, nullptr, settings);
  }
  expect_near_lines("whole", "cut");
}

TEST_F(ObjectiveTest, AnEpochOfLengthGroupsSeesEveryExampleOnce) {
  const auto examples = x_examples(21);
  LengthGroupedSource source(examples, examples->lengths(),
                             {.micro_batch_size = 3, .num_micros = 2}, RandomKey(2));
  std::vector<std::vector<std::int64_t>> orders(2);
  for (std::int64_t step = 0; step < 8; ++step) {  // four steps an epoch
    for (std::int64_t micro = 0; micro < 2; ++micro) {
      const auto batch = source.at(step, micro);
      EXPECT_EQ(batch.weight, static_cast<double>(batch.indices.size()));
      auto& order = orders[static_cast<std::size_t>(step / 4)];
      order.insert(order.end(), batch.indices.begin(), batch.indices.end());
    }
  }
  EXPECT_NE(orders[0], orders[1]);
  for (const auto& order : orders) {
    EXPECT_EQ(order.size(), 21u);
    EXPECT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 21u);
  }
  // A step in the first epoch is the same whatever was asked before.
  LengthGroupedSource fresh(examples, examples->lengths(), {.micro_batch_size = 3, .num_micros = 2},
                            RandomKey(2));
  EXPECT_EQ(fresh.at(2, 1).indices, source.at(2, 1).indices);
}

TEST_F(ObjectiveTest, PaddingOfABatchChangesNoLoss) {
  const auto examples = x_examples(12);
  const auto model = tiny_bert("BertForSequenceClassification", 0);
  double alone = 0;
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < examples->size(); ++i) {
    alone +=
        SequenceObjective().loss_sum(*model, examples->batch(visits_of({i}, 0))).item<double>();
    all.push_back(i);
  }
  const auto batch = examples->batch(visits_of(all, 0));
  EXPECT_TRUE(batch.input.mask_BT.defined());
  // Twelve float32 losses below 1.
  EXPECT_NEAR(SequenceObjective().loss_sum(*model, batch).item<double>(), alone, 1e-5);
}

TEST_F(ObjectiveTest, OneOutputIsTrainedOnSquaredErrors) {
  const SentenceTask task = {.name = "numbers", .first_column = "text", .label_column = "value"};
  const SentenceExamples examples(task, {{"a", "", 2.5}, {"bcd", "", -1}}, TinyBertTokenizer(), 48,
                                  2);
  const auto model = tiny_bert("BertForSequenceClassification", 0, /*num_labels=*/1);
  const auto batch = examples.batch(visits_of({0, 1}, 0));
  EXPECT_EQ(batch.targets.scalar_type(), c10::kFloat);
  const auto out_B = model->forward(batch.input).squeeze(1);
  const double expected = (out_B - torch::tensor({2.5f, -1.0f})).square().sum().item<double>();
  EXPECT_NEAR(SequenceObjective().loss_sum(*model, batch).item<double>(), expected, 1e-5);
  const HeldOut held_out(std::make_shared<SentenceExamples>(examples), {{0}, {1}});
  const auto scores = SequenceObjective().score(*model, held_out);
  ASSERT_EQ(scores.size(), 1u);
  EXPECT_NEAR(scores[0].second, expected / 2, 1e-5);
}

TEST_F(ObjectiveTest, PairsNeedASecondKindOfSegment) {
  auto task = x_task();
  task.second_column = "second";
  const std::vector<SentenceExample> pairs = {{.first = "ab", .second = "c", .label = 1}};
  const SentenceExamples examples(task, pairs, TinyBertTokenizer(), 48, 2);
  EXPECT_TRUE(examples.batch(visits_of({0}, 0))
                  .input.token_types_BT.equal(torch::tensor({{0L, 0L, 0L, 0L, 1L, 1L}})));
  EXPECT_THROW(SentenceExamples(task, pairs, TinyBertTokenizer(), 48, 1), ConfigError);
}

TEST_F(ObjectiveTest, ABertWithDropoutLearnsATinyTask) {
  auto settings = testing::short_settings();
  settings.options = {.steps = 150, .eval_every = 0, .save_every = 0};
  settings.learning_rate = {.peak = 5e-3, .warmup_steps = 10};
  settings.shape = {.micro_batch_size = 16};
  const auto examples = x_examples(256);
  LengthGroupedSource source(examples, examples->lengths(), settings.shape, RandomKey(2));
  const HeldOut held_out(examples, length_sorted_batches(examples->lengths(), 16));
  const auto model = tiny_bert("BertForSequenceClassification", 0.05);
  const auto result = testing::fit_set(folder_.path("run"), *model, SequenceObjective(), source,
                                       &held_out, settings);
  EXPECT_EQ(result.progress.scores[1].first, "accuracy");
  EXPECT_LT(result.progress.start_scores[1].second, 0.7);
  EXPECT_GT(result.progress.scores[1].second, 0.95);
}

TEST_F(ObjectiveTest, ABertLearnsToFillMasksFromTheirNeighbours) {
  std::string text;
  for (int i = 0; i < 640; ++i) text += static_cast<char>('a' + i % 20);
  const auto file = folder_.file("alphabet.txt", text);
  const auto examples = [&](std::uint64_t seed) {
    return std::make_shared<MaskedTokenExamples>(file, TinyBertTokenizer(), 18, RandomKey(seed));
  };
  auto settings = testing::short_settings();
  settings.options = {.steps = 300, .eval_every = 0, .save_every = 0};
  settings.learning_rate = {.peak = 1e-2, .warmup_steps = 20};
  settings.shape = {.micro_batch_size = 16};
  ShuffledSource source(examples(1), settings.shape, RandomKey(2));
  const HeldOut held_out(examples(7), batches_in_order(40, 16));
  const auto result = testing::fit_set(folder_.path("run"), *tiny_bert("BertForMaskedLM", 0.02),
                                       TokenObjective(), source, &held_out, settings);
  EXPECT_NEAR(result.progress.start_scores[0].second, std::log(64.0), 0.5);
  // Who looks at no neighbour has 20 letters to choose from: ln 20 = 3.0.
  EXPECT_LT(result.progress.scores[0].second, 2.0);
}

class PowerCutAfterFive : public TrainHook {
 public:
  void after_step(std::int64_t num_steps) override {
    if (num_steps == 5) throw std::runtime_error("power cut");
  }
};

TEST_F(ObjectiveTest, InterruptedRunsOfABertGoOnAsIfNothingHadHappened) {
  const auto settings = testing::short_settings();
  for (const bool is_masked : {true, false}) {
    const auto run = [&](const std::string& name, std::uint64_t seed, bool resume, bool cut) {
      const auto model = tiny_bert(is_masked ? "BertForMaskedLM" : "BertForSequenceClassification",
                                   /*dropout=*/0.2, 2, seed);
      std::unique_ptr<Objective> objective;
      std::unique_ptr<BatchSource> source;
      std::optional<HeldOut> held_out;
      if (is_masked) {
        objective = std::make_unique<TokenObjective>();
        source = std::make_unique<ShuffledSource>(masked_examples(), settings.shape, RandomKey(2));
        held_out.emplace(masked_examples(7), batches_in_order(8, 4));
      } else {
        const auto examples = x_examples(17);
        objective = std::make_unique<SequenceObjective>();
        source = std::make_unique<LengthGroupedSource>(examples, examples->lengths(),
                                                       settings.shape, RandomKey(2));
        held_out.emplace(examples, length_sorted_batches(examples->lengths(), 4));
      }
      PowerCutAfterFive power_cut;
      std::vector<TrainHook*> hooks;
      if (cut) hooks.push_back(&power_cut);
      const auto fit = [&] {
        testing::fit_set(folder_.path(name), *model, *objective, *source, &*held_out, settings,
                         resume, hooks);
      };
      if (cut) {
        EXPECT_THROW(fit(), std::runtime_error);
      } else {
        fit();
      }
      return testing::copy_parameters(*model);
    };
    const std::string kind = is_masked ? "masked" : "classified";
    const auto straight = run(kind + "_straight", 3, false, false);
    run(kind + "_cut", 3, false, true);
    const auto resumed = run(kind + "_cut", 99, true, false);
    for (const auto& [name, tensor] : straight) EXPECT_TRUE(tensor.equal(resumed.at(name))) << name;
    EXPECT_EQ(metric_lines(kind + "_straight"), metric_lines(kind + "_cut"));
  }
}

TEST_F(ObjectiveTest, DropoutChangesTrainingAndNotValidation) {
  const auto examples = x_examples(16);
  const HeldOut held_out(examples, batches_in_order(16, 8));
  auto settings = testing::short_settings();
  settings.options.steps = 1;
  for (const double dropout : {0.0, 0.3}) {
    LengthGroupedSource source(examples, examples->lengths(), settings.shape, RandomKey(2));
    testing::fit_set(folder_.path(dropout > 0 ? "dropped" : "plain"),
                     *tiny_bert("BertForSequenceClassification", dropout), SequenceObjective(),
                     source, &held_out, settings);
  }
  const auto plain = metric_lines("plain"), dropped = metric_lines("dropped");
  EXPECT_EQ(plain[0]["valid_loss"], dropped[0]["valid_loss"]);
  EXPECT_NE(plain[1]["loss"], dropped[1]["loss"]);
}

TEST_F(ObjectiveTest, AStepWithoutAnyTargetIsRefused) {
  const auto examples = std::make_shared<MaskedTokenExamples>(
      folder_.file("unknown.txt", std::string(40, '\x44')), TinyBertTokenizer(), 18, RandomKey(1));
  ShuffledSource source(examples, {.micro_batch_size = 2, .num_micros = 1}, RandomKey(2));
  EXPECT_THROW(testing::fit_set(folder_.path("run"), *tiny_bert("BertForMaskedLM", 0),
                                TokenObjective(), source, nullptr, testing::short_settings()),
               ConfigError);
}

}  // namespace
}  // namespace lowbank
