#include "train/trainer.h"

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"
#include "core/text.h"
#include "train/adamw.h"
#include "train_test_support.h"

namespace lowbank {
namespace {

class TrainerTest : public testing::SeededTest {
 protected:
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
  static void expect_same(const std::map<std::string, torch::Tensor>& a,
                          const std::map<std::string, torch::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(tensor.equal(b.at(name))) << name;
  }
  testing::TempFolder folder_;
};

class PowerCut : public TrainHook {
 public:
  void after_step(std::int64_t num_steps) override {
    if (num_steps == 5) throw std::runtime_error("power cut");
  }
};

TEST_F(TrainerTest, FourMicroBatchesOfTwoEqualOneBatchOfEight) {
  const auto data = testing::toy_dataset(folder_);
  auto config = testing::short_settings();
  config.options.steps = 3;
  config.shape.micro_batch_size = 8;
  const auto whole = testing::tiny_model(), cut = testing::tiny_model();
  testing::fit_in(folder_.path("whole"), *whole, data, config);
  config.shape.micro_batch_size = 2;
  config.shape.num_micros = 4;
  testing::fit_in(folder_.path("cut"), *cut, data, config);
  const auto whole_lines = metric_lines("whole"), cut_lines = metric_lines("cut");
  ASSERT_EQ(whole_lines.size(), cut_lines.size());
  for (std::size_t i = 0; i < whole_lines.size(); ++i) {
    // float32 sums over 120 tokens in another order.
    EXPECT_NEAR(whole_lines[i]["loss"].get<double>(), cut_lines[i]["loss"].get<double>(), 1e-5);
    EXPECT_NEAR(whole_lines[i]["grad_norm"].get<double>(), cut_lines[i]["grad_norm"].get<double>(),
                1e-4);
  }
  const auto expected = testing::copy_parameters(*whole);
  for (const auto& [name, tensor] : testing::copy_parameters(*cut)) {
    // Adam divides by the gradient's size: rounding of a gradient near zero weighs up to a whole
    // step of 0.01 there, so single elements may differ more than the loss does.
    EXPECT_TENSOR_NEAR(tensor, expected.at(name), 2e-3);
  }
}

TEST_F(TrainerTest, TheFirstStepFollowsTheGradientOfTheMeanLoss) {
  const auto data = testing::toy_dataset(folder_);
  auto config = testing::short_settings();
  config.options.steps = 1;
  config.learning_rate.warmup_steps = 0;
  config.shape.micro_batch_size = 2;
  config.shape.num_micros = 3;
  const auto model = testing::tiny_model(), twin = testing::tiny_model();
  testing::fit_in(folder_.path("run"), *model, data, config, /*seed=*/4);
  EpochSampler sampler(data.size(), RandomKey(4).derive("epochs"));
  std::vector<std::int64_t> indices;
  for (int i = 0; i < 6; ++i) indices.push_back(sampler.at(i));
  const auto loss = testing::next_token_loss(*twin, data.batch(indices)) / (6 * 15.0);
  loss.backward();
  const auto line = metric_lines("run").at(0);
  EXPECT_NEAR(line["loss"].get<double>(), loss.item<double>(), 1e-5);
  EXPECT_NEAR(line["grad_norm"].get<double>(), clip_grad_norm_(trainable_parameters(*twin), 0),
              1e-4);
}

TEST_F(TrainerTest, TheSameSeedGivesTheSameModelAndAnotherSeedAnother) {
  const auto data = testing::toy_dataset(folder_);
  const auto a = testing::tiny_model(), b = testing::tiny_model(), c = testing::tiny_model();
  testing::fit_in(folder_.path("a"), *a, data, testing::short_settings(), /*seed=*/1);
  testing::fit_in(folder_.path("b"), *b, data, testing::short_settings(), /*seed=*/1);
  testing::fit_in(folder_.path("c"), *c, data, testing::short_settings(), /*seed=*/2);
  expect_same(testing::copy_parameters(*a), testing::copy_parameters(*b));
  EXPECT_EQ(metric_lines("a"), metric_lines("b"));
  EXPECT_NE(metric_lines("a"), metric_lines("c"));
}

TEST_F(TrainerTest, TheLossFallsOnAToyText) {
  const auto data = testing::toy_dataset(folder_);
  auto config = testing::short_settings();
  config.options.steps = 60;
  config.learning_rate.peak = 2e-2;
  config.options.eval_every = 0;
  const auto model = testing::tiny_model();
  const auto result = testing::fit_in(folder_.path("run"), *model, data, config, 0, &data);
  const auto loss = [](const Scores& scores) { return scores.front().second; };
  EXPECT_NEAR(loss(result.progress.start_scores), std::log(64.0), 0.5);  // an untrained model
  EXPECT_LT(loss(result.progress.scores), 2.0);  // the mean surprise of single letters is 2.9
  EXPECT_EQ(result.progress.num_tokens, 60 * 4 * 15);
  EXPECT_EQ(result.num_trainable, count_parameters(*model));
}

TEST_F(TrainerTest, AnInterruptedRunGoesOnAsIfNothingHadHappened) {
  const auto data = testing::toy_dataset(folder_);
  const auto straight = testing::tiny_model();
  const auto expected = testing::fit_in(folder_.path("straight"), *straight, data,
                                        testing::short_settings(), 0, &data);
  PowerCut power_cut;
  const auto broken = testing::tiny_model();
  EXPECT_THROW(
      testing::fit_in(folder_.path("run"), *broken, data, testing::short_settings(), 0, &data,
                      /*resume=*/false, {&power_cut}),
      std::runtime_error);
  const auto resumed = testing::tiny_model(/*seed=*/99);  // every parameter comes from the point
  const auto result =
      testing::fit_in(folder_.path("run"), *resumed, data, testing::short_settings(), 0, &data,
                      /*resume=*/true);
  expect_same(testing::copy_parameters(*straight), testing::copy_parameters(*resumed));
  EXPECT_EQ(metric_lines("straight"), metric_lines("run"));
  EXPECT_EQ(result.progress.start_scores, expected.progress.start_scores);
  EXPECT_EQ(result.progress.scores, expected.progress.scores);
  EXPECT_EQ(result.progress.num_tokens, expected.progress.num_tokens);
}

TEST_F(TrainerTest, ResumingWithoutASavedPointStartsFromTheBeginning) {
  const auto data = testing::toy_dataset(folder_);
  const auto straight = testing::tiny_model(), resumed = testing::tiny_model();
  testing::fit_in(folder_.path("straight"), *straight, data, testing::short_settings());
  testing::fit_in(folder_.path("run"), *resumed, data, testing::short_settings(), 0, nullptr,
                  /*resume=*/true);
  expect_same(testing::copy_parameters(*straight), testing::copy_parameters(*resumed));
  EXPECT_EQ(metric_lines("straight"), metric_lines("run"));
}

TEST_F(TrainerTest, ResumingWithOtherSettingsNamesTheKey) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  testing::fit_in(folder_.path("run"), *model, data, testing::short_settings());
  auto config = testing::short_settings();
  config.options.save_every = 1;  // says nothing about the result
  EXPECT_NO_THROW(testing::fit_in(folder_.path("run"), *model, data, config, 0, nullptr, true));
  config.learning_rate.peak = 0.5;
  try {
    testing::fit_in(folder_.path("run"), *model, data, config, 0, nullptr, true);
    FAIL() << "a point made with another learning rate was accepted";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("train.learning_rate was 0.01, is 0.5"), std::string::npos)
        << e.what();
  }
}

TEST_F(TrainerTest, ACorruptResumePointIsReported) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  testing::fit_in(folder_.path("run"), *model, data, testing::short_settings());
  folder_.file("run/state/point.safetensors", "not a point");
  EXPECT_THROW(testing::fit_in(folder_.path("run"), *model, data, testing::short_settings(), 0,
                               nullptr, true),
               IoError);
}

TEST_F(TrainerTest, MetricsThatWereChangedSinceThePointWasSavedAreReported) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  PowerCut power_cut;
  EXPECT_THROW(testing::fit_in(folder_.path("run"), *model, data, testing::short_settings(), 0,
                               nullptr, false, {&power_cut}),
               std::runtime_error);
  std::string lines = read_text(folder_.path("run/metrics.jsonl"));
  const auto digit = lines.find('.') + 1;
  lines[digit] = lines[digit] == '1' ? '2' : '1';
  folder_.file("run/metrics.jsonl", lines);
  EXPECT_THROW(testing::fit_in(folder_.path("run"), *model, data, testing::short_settings(), 0,
                               nullptr, true),
               DamagedRecord);
}

TEST_F(TrainerTest, ALossThatIsNotFiniteStopsBeforeTheUpdate) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  {
    const at::NoGradGuard no_grad;
    model->parameters()[1].fill_(std::numeric_limits<float>::infinity());
  }
  const auto before = testing::copy_parameters(*model);
  try {
    testing::fit_in(folder_.path("run"), *model, data, testing::short_settings());
    FAIL() << "an infinite weight went unnoticed";
  } catch (const ResourceError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("at step 1 (learning rate 0.005)"), std::string::npos) << message;
  }
  expect_same(before, testing::copy_parameters(*model));
}

TEST_F(TrainerTest, HeldOutLossDoesNotDependOnTheBatchSize) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  const auto loss = [&](std::int64_t count, std::int64_t batch_size) {
    const HeldOut held_out(std::make_shared<NextTokenExamples>(data),
                           batches_in_order(count, batch_size));
    const auto scores = TokenObjective().score(*model, held_out);
    EXPECT_EQ(scores[1].first, "perplexity");
    EXPECT_EQ(scores[1].second, std::exp(scores[0].second));
    return scores[0].second;
  };
  // float32 sums of at most 8 x 15 tokens.
  EXPECT_NEAR(loss(data.size(), 1), loss(data.size(), 8), 1e-5);
  const auto first = data.batch(std::vector<std::int64_t>{0});
  EXPECT_NEAR(loss(1, 8) * 15, testing::next_token_loss(*model, first).item<double>(), 1e-4);
}

// A hook that pulls s to zero, counts its calls, and keeps a running mean of a gradient.
class WatchfulHook : public TrainHook {
 public:
  explicit WatchfulHook(torch::Tensor watched)
      : watched_(std::move(watched)), mean_grad_(at::zeros_like(watched_.detach())) {}
  torch::Tensor penalty(std::int64_t step) override {
    return step == 0 ? torch::Tensor() : 0.5 * watched_.square().sum();
  }
  void after_backward(std::int64_t step) override {
    mean_grad_.mul_(0.9).add_(watched_.grad(), 0.1);
    steps.push_back(step);
  }
  void after_step(std::int64_t num_steps) override {
    if (num_steps == fails_after) throw std::runtime_error("power cut");
  }
  void save(Snapshot& snapshot) const override {
    snapshot.add("watchful.mean_grad", mean_grad_);
    snapshot.add_record("watchful", {{"calls", steps.size()}});
  }
  void load(const Snapshot& snapshot) override {
    snapshot.copy_into("watchful.mean_grad", mean_grad_);
    steps.resize(snapshot.record("watchful").at("calls").get<std::size_t>());
  }
  const torch::Tensor& mean_grad() const { return mean_grad_; }

  std::vector<std::int64_t> steps;
  std::int64_t fails_after = -1;

 private:
  torch::Tensor watched_, mean_grad_;
};

TEST_F(TrainerTest, AHooksPenaltyIsPartOfTheGradientAndOfTheMetrics) {
  const auto data = testing::toy_dataset(folder_);
  auto config = testing::short_settings();
  config.options.steps = 2;
  config.options.max_grad_norm = 0;
  const auto model = testing::tiny_model(), twin = testing::tiny_model();
  WatchfulHook hook(model->parameters()[0]);
  testing::fit_in(folder_.path("with"), *model, data, config, 0, nullptr, false, {&hook});
  testing::fit_in(folder_.path("without"), *twin, data, config);
  const auto with = metric_lines("with"), without = metric_lines("without");
  EXPECT_EQ(with[0], without[0]);  // no penalty in the first step
  EXPECT_EQ(with[1]["loss"], without[1]["loss"]);
  EXPECT_FALSE(with[0].contains("penalty"));
  // Half the square of 64 x 16 weights of deviation 0.1: 512 x 0.01.
  EXPECT_NEAR(with[1]["penalty"].get<double>(), 5.0, 1.0);
  EXPECT_NE(with[1]["grad_norm"], without[1]["grad_norm"]);
  EXPECT_EQ(hook.steps, (std::vector<std::int64_t>{0, 1}));
}

TEST_F(TrainerTest, AHooksStateGoesOnWithAResumedRun) {
  const auto data = testing::toy_dataset(folder_);
  const auto run = [&](const char* folder, std::uint64_t model_seed, bool resume,
                       std::int64_t fails_after) {
    const auto model = testing::tiny_model(model_seed);
    WatchfulHook hook(model->parameters()[0]);
    hook.fails_after = fails_after;
    const auto fit = [&] {
      testing::fit_in(folder_.path(folder), *model, data, testing::short_settings(), 0, nullptr,
                      resume, {&hook});
    };
    if (fails_after > 0) {
      EXPECT_THROW(fit(), std::runtime_error);
    } else {
      fit();
    }
    return std::pair(hook.mean_grad().clone(), hook.steps.size());
  };
  const auto straight = run("straight", 3, false, -1);
  run("cut", 3, false, 5);
  const auto resumed = run("cut", 99, true, -1);
  EXPECT_TRUE(straight.first.equal(resumed.first));
  EXPECT_EQ(straight.second, resumed.second);
  EXPECT_EQ(metric_lines("straight"), metric_lines("cut"));
}

TEST_F(TrainerTest, ASnapshotRefusesANameTwiceAndATensorOfAnotherShape) {
  Snapshot snapshot("where.safetensors");
  snapshot.add("w", at::zeros({2, 3}));
  EXPECT_THROW(snapshot.add("w", at::zeros({2, 3})), c10::Error);
  EXPECT_THROW(snapshot.copy_into("w", at::zeros({3, 2})), IoError);
  EXPECT_THROW(snapshot.copy_into("v", at::zeros({2, 3})), IoError);
  EXPECT_THROW(snapshot.record("progress"), IoError);
}

}  // namespace
}  // namespace lowbank
