#include "train/trainer.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/error.h"
#include "core/text.h"
#include "train/adamw.h"
#include "train_test_support.h"

namespace lowbank {
namespace {

class TrainerTest : public testing::SeededTest {
 protected:
  static TrainConfig short_config() {
    TrainConfig config;
    config.steps = 6;
    config.micro_batch_size = 4;
    config.warmup_steps = 2;
    config.learning_rate = 1e-2;
    config.eval_every = 2;
    config.save_every = 2;
    return config;
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
  static void expect_same(const std::map<std::string, torch::Tensor>& a,
                          const std::map<std::string, torch::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(tensor.equal(b.at(name))) << name;
  }
  testing::TempFolder folder_;
};

TEST_F(TrainerTest, FourMicroBatchesOfTwoEqualOneBatchOfEight) {
  const auto data = testing::toy_dataset(folder_);
  auto config = short_config();
  config.steps = 3;
  config.micro_batch_size = 8;
  const auto whole = testing::tiny_model(), cut = testing::tiny_model();
  testing::fit_in(folder_.path("whole"), *whole, data, config);
  config.micro_batch_size = 2;
  config.grad_accum_steps = 4;
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
  auto config = short_config();
  config.steps = 1;
  config.warmup_steps = 0;
  config.micro_batch_size = 2;
  config.grad_accum_steps = 3;
  const auto model = testing::tiny_model(), twin = testing::tiny_model();
  testing::fit_in(folder_.path("run"), *model, data, config, /*seed=*/4);
  EpochSampler sampler(data.size(), RandomKey(4).derive("epochs"));
  std::vector<std::int64_t> indices;
  for (int i = 0; i < 6; ++i) indices.push_back(sampler.at(i));
  const auto loss = sum_nll(*twin, data.batch(indices)) / (6 * 15.0);
  loss.backward();
  const auto line = metric_lines("run").at(0);
  EXPECT_NEAR(line["loss"].get<double>(), loss.item<double>(), 1e-5);
  EXPECT_NEAR(line["grad_norm"].get<double>(), clip_grad_norm_(trainable_parameters(*twin), 0),
              1e-4);
}

TEST_F(TrainerTest, TheSameSeedGivesTheSameModelAndAnotherSeedAnother) {
  const auto data = testing::toy_dataset(folder_);
  const auto a = testing::tiny_model(), b = testing::tiny_model(), c = testing::tiny_model();
  testing::fit_in(folder_.path("a"), *a, data, short_config(), /*seed=*/1);
  testing::fit_in(folder_.path("b"), *b, data, short_config(), /*seed=*/1);
  testing::fit_in(folder_.path("c"), *c, data, short_config(), /*seed=*/2);
  expect_same(testing::copy_parameters(*a), testing::copy_parameters(*b));
  EXPECT_EQ(metric_lines("a"), metric_lines("b"));
  EXPECT_NE(metric_lines("a"), metric_lines("c"));
}

TEST_F(TrainerTest, TheLossFallsOnAToyText) {
  const auto data = testing::toy_dataset(folder_);
  auto config = short_config();
  config.steps = 60;
  config.learning_rate = 2e-2;
  config.eval_every = 0;
  const auto model = testing::tiny_model();
  const auto result = testing::fit_in(folder_.path("run"), *model, data, config, 0, &data);
  EXPECT_NEAR(*result.progress.start_valid_loss, std::log(64.0), 0.5);  // an untrained model
  EXPECT_LT(*result.progress.valid_loss, 2.0);  // the mean surprise of single letters is 2.9
  EXPECT_EQ(result.num_tokens, 60 * 4 * 15);
  EXPECT_EQ(result.num_trainable, count_parameters(*model));
}

TEST_F(TrainerTest, AnInterruptedRunGoesOnAsIfNothingHadHappened) {
  const auto data = testing::toy_dataset(folder_);
  const auto straight = testing::tiny_model();
  const auto expected =
      testing::fit_in(folder_.path("straight"), *straight, data, short_config(), 0, &data);
  TrainHooks hooks;
  hooks.after_step = [](std::int64_t step) {
    if (step == 5) throw std::runtime_error("power cut");
  };
  const auto broken = testing::tiny_model();
  EXPECT_THROW(testing::fit_in(folder_.path("run"), *broken, data, short_config(), 0, &data,
                               /*resume=*/false, hooks),
               std::runtime_error);
  const auto resumed = testing::tiny_model(/*seed=*/99);  // every parameter comes from the point
  const auto result = testing::fit_in(folder_.path("run"), *resumed, data, short_config(), 0, &data,
                                      /*resume=*/true);
  expect_same(testing::copy_parameters(*straight), testing::copy_parameters(*resumed));
  EXPECT_EQ(metric_lines("straight"), metric_lines("run"));
  EXPECT_EQ(result.progress.start_valid_loss, expected.progress.start_valid_loss);
  EXPECT_EQ(result.progress.valid_loss, expected.progress.valid_loss);
}

TEST_F(TrainerTest, ResumingWithoutASavedPointStartsFromTheBeginning) {
  const auto data = testing::toy_dataset(folder_);
  const auto straight = testing::tiny_model(), resumed = testing::tiny_model();
  testing::fit_in(folder_.path("straight"), *straight, data, short_config());
  testing::fit_in(folder_.path("run"), *resumed, data, short_config(), 0, nullptr,
                  /*resume=*/true);
  expect_same(testing::copy_parameters(*straight), testing::copy_parameters(*resumed));
  EXPECT_EQ(metric_lines("straight"), metric_lines("run"));
}

TEST_F(TrainerTest, ResumingWithOtherSettingsNamesTheKey) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  testing::fit_in(folder_.path("run"), *model, data, short_config());
  auto config = short_config();
  config.save_every = 1;  // says nothing about the result
  EXPECT_NO_THROW(testing::fit_in(folder_.path("run"), *model, data, config, 0, nullptr, true));
  config.learning_rate = 0.5;
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
  testing::fit_in(folder_.path("run"), *model, data, short_config());
  folder_.file("run/state/point.safetensors", "not a point");
  EXPECT_THROW(testing::fit_in(folder_.path("run"), *model, data, short_config(), 0, nullptr, true),
               IoError);
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
    testing::fit_in(folder_.path("run"), *model, data, short_config());
    FAIL() << "an infinite weight went unnoticed";
  } catch (const ResourceError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("at step 1 (learning rate 0.005)"), std::string::npos) << message;
  }
  expect_same(before, testing::copy_parameters(*model));
}

TEST_F(TrainerTest, MeanNllDoesNotDependOnTheBatchSize) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::tiny_model();
  // float32 sums of at most 8 x 15 tokens.
  EXPECT_NEAR(mean_nll(*model, data, 0, 1), mean_nll(*model, data, 0, 8), 1e-5);
  EXPECT_NEAR(mean_nll(*model, data, 1, 8) * 15,
              sum_nll(*model, data.batch(std::vector<std::int64_t>{0})).item<double>(), 1e-4);
}

}  // namespace
}  // namespace lowbank
