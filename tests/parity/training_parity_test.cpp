#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "kernels/cross_entropy.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/tensor_file.h"
#include "torch_support.h"
#include "train/text_examples.h"
#include "train/trainer.h"

namespace lowbank {
namespace {

constexpr const char* kFixtureVersion = "1";

/// The rows of a fixture.
class FixtureRows : public Examples {
 public:
  explicit FixtureRows(std::map<std::string, torch::Tensor> tensors)
      : tensors_(std::move(tensors)) {}
  std::int64_t size() const override { return tensors_.at("input_ids").size(0); }
  Batch batch(std::span<const Visit> visits) const override {
    std::vector<std::int64_t> indices;
    for (const auto& visit : visits) indices.push_back(visit.example);
    const auto rows = [&](const char* name) {
      return tensors_.at(name).index_select(0, torch::tensor(indices));
    };
    const auto ids_BT = rows("input_ids");
    if (!tensors_.contains("labels")) return next_token_batch(ids_BT);
    const auto labels_BT = rows("labels");
    return {
        .input = ModelInput(ids_BT, rows("attention_mask").to(c10::kBool), rows("token_type_ids")),
        .targets = labels_BT,
        .weight = (labels_BT != kIgnoreIndex).sum().item<double>()};
  }

 private:
  std::map<std::string, torch::Tensor> tensors_;
};

/// Keeps the lines of metrics.
class MetricLines : public TrainSink {
 public:
  std::optional<Snapshot> last_snapshot() override { return std::nullopt; }
  void keep_metrics(std::int64_t) override {}
  void add_metrics(const nlohmann::ordered_json& line) override { lines.push_back(line); }
  void save(const Snapshot&) override {}

  std::vector<nlohmann::ordered_json> lines;
};

/// Calls back when the gradients of a step are complete.
class GradientWatch : public TrainHook {
 public:
  explicit GradientWatch(std::function<void(std::int64_t step)> on_gradients)
      : on_gradients_(std::move(on_gradients)) {}
  void after_backward(std::int64_t step) override { on_gradients_(step); }

 private:
  std::function<void(std::int64_t)> on_gradients_;
};

/// Ten optimizer steps of tiny random models by transformers, computed in float64:
/// tests/parity/make_training_fixture.py says what each file holds.
class TrainingParity : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = folder_ + "/expected.safetensors";
    ASSERT_EQ(SafetensorsFile::open(path)->metadata().at("fixture_version"), kFixtureVersion)
        << "stale fixture: run .venv-dev/bin/python tests/parity/make_training_fixture.py";
    expected_ = read_tensors(path);
    model_ = load_model(folder_).model;
  }

  void expect_step(std::int64_t step, double loss, double grad_norm, double learning_rate) const {
    const auto expected = [&](const char* curve) {
      return expected_.at(curve)[step].item<double>();
    };
    // At most 3e-7 and 3e-6 were measured, with each vector extension. A loss is a mean over many
    // targets, whose float32 errors cancel out; a norm has the errors of the gradients.
    EXPECT_NEAR(loss, expected("losses"), 1e-6 * expected("losses")) << "step " << step;
    EXPECT_NEAR(grad_norm, expected("grad_norms"), 1e-5 * expected("grad_norms"))
        << "step " << step;
    EXPECT_NEAR(learning_rate, expected("learning_rates"), 1e-12) << "step " << step;
  }

  /// Each parameter has a gradient that is transformers', and transformers has no others.
  void expect_gradients(const NamedTensors& parameters, const std::string& stem, double tolerance) {
    std::map<std::string, torch::Tensor> wanted;
    for (const auto& [key, tensor] : expected_) {
      if (key.starts_with(stem)) wanted.emplace(key.substr(stem.size()), tensor);
    }
    double largest_of_all = 0;
    for (const auto& [name, gradient] : wanted) {
      largest_of_all = std::max(largest_of_all, gradient.abs().max().item<double>());
    }
    EXPECT_EQ(parameters.size(), wanted.size());
    for (const auto& [name, parameter] : parameters) {
      const auto found = wanted.find(name);
      ASSERT_NE(found, wanted.end()) << name;
      ASSERT_TRUE(parameter.grad().defined()) << name;
      const double largest = found->second.abs().max().item<double>();
      // The gradient of BERT's key biases is 0; what is left of it is the rounding of larger ones.
      EXPECT_TENSOR_NEAR(parameter.grad(), found->second,
                         tolerance * (largest > 0 ? largest : largest_of_all))
          << stem << name;
    }
  }

  // Relative to the largest value of a parameter's gradient. Float32 sums over a few hundred tokens
  // and two layers are off by at most 3e-6 of it, with each vector extension. After nine updates
  // they are off by at most 3e-5: AdamW divides each gradient by its size, so the errors of small
  // gradients change the parameters as much as large gradients do.
  static constexpr double kFirstTolerance = 1e-5, kLastTolerance = 1e-4;

  std::string folder_ = std::string(LOWBANK_SOURCE_DIR "/tests/parity/fixtures/") + GetParam();
  std::map<std::string, torch::Tensor> expected_;
  std::shared_ptr<LanguageModel> model_;
};

// A step sees all rows, so that its loss does not depend on the order in which they are drawn. The
// rows of its two micro-batches have different numbers of targets.
TEST_P(TrainingParity, TenStepsOfTheTrainerHaveTransformersLossesAndGradients) {
  const std::int64_t num_steps = expected_.at("losses").numel();
  AdamW optimizer(trainable_parameters(*model_),
                  {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1});
  ShuffledSource source(std::make_shared<FixtureRows>(expected_),
                        {.micro_batch_size = 3, .num_micros = 2}, RandomKey(1));
  GradientWatch watch([&](std::int64_t step) {
    if (step == 0) expect_gradients(optimizer.parameters(), "first_gradient.", kFirstTolerance);
    if (step + 1 == num_steps) {
      expect_gradients(optimizer.parameters(), "last_gradient.", kLastTolerance);
    }
  });
  MetricLines sink;
  fit({.model = *model_,
       .objective = TokenObjective(),
       .source = source,
       .optimizer = optimizer,
       .learning_rate =
           {.peak = 0.01, .min_frac = 0.1, .schedule = Schedule::kLinear, .warmup_steps = 3},
       .options = {.steps = num_steps,
                   .max_grad_norm = expected_.at("max_grad_norm").item<double>(),
                   .eval_every = 0,
                   .save_every = 0},
       .dropout_key = RandomKey(2),
       .hooks = {&watch},
       .sink = sink});
  ASSERT_EQ(sink.lines.size(), static_cast<std::size_t>(num_steps));
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const auto& line = sink.lines[static_cast<std::size_t>(step)];
    expect_step(step, line["loss"], line["grad_norm"], line["learning_rate"]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingParity,
                         ::testing::Values("train_llama_tied", "train_llama_untied",
                                           "train_mamba_tied", "train_mamba_untied",
                                           "train_bert_tied", "train_bert_untied"));

}  // namespace
}  // namespace lowbank
