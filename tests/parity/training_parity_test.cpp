#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "data/text_dataset.h"
#include "io/safetensors.h"
#include "kernels/cross_entropy.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/tensor_file.h"
#include "temp_folder.h"
#include "torch_support.h"
#include "train/adamw.h"
#include "train/schedule.h"
#include "train/trainer.h"
#include "unit/train/train_test_support.h"

namespace lowbank {
namespace {

constexpr const char* kFixtureVersion = "1";

/// Negative log-likelihoods of the tokens that the targets name, summed.
torch::Tensor sum_masked_nll(LanguageModel& model, const ModelInput& input,
                             const torch::Tensor& targets_BT) {
  const auto logits_BTV = model.head(model.hidden_states(input));
  return softmax_cross_entropy_(logits_BTV.flatten(0, 1), targets_BT.flatten());
}

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
    config_.steps = expected_.at("losses").numel();
    config_.micro_batch_size = 3;
    config_.grad_accum_steps = 2;
    config_.learning_rate = 0.01;
    config_.min_learning_rate_frac = 0.1;
    config_.schedule = "linear";
    config_.warmup_steps = 3;
    config_.weight_decay = 0.1;
    config_.beta1 = 0.9;
    config_.beta2 = 0.95;
    config_.eps = 1e-8;
    config_.max_grad_norm = expected_.at("max_grad_norm").item<double>();
    config_.eval_every = 0;
    config_.save_every = 0;
  }

  /// The rows of `name` that belong to one micro-batch.
  torch::Tensor rows(const char* name, std::int64_t micro_batch) const {
    const std::int64_t size = config_.micro_batch_size;
    return expected_.at(name).narrow(0, micro_batch * size, size);
  }

  torch::Tensor sum_loss(std::int64_t micro_batch) {
    const auto ids_BT = rows("input_ids", micro_batch);
    if (model_->is_causal()) return sum_nll(*model_, ids_BT);
    const ModelInput input(ids_BT, rows("attention_mask", micro_batch).to(c10::kBool),
                           rows("token_type_ids", micro_batch));
    return sum_masked_nll(*model_, input, rows("labels", micro_batch));
  }

  std::int64_t num_targets() const {
    if (!model_->is_causal()) {
      return (expected_.at("labels") != kIgnoreIndex).sum().item<std::int64_t>();
    }
    const auto& ids = expected_.at("input_ids");
    return ids.size(0) * (ids.size(1) - 1);
  }

  /// Adds the gradient of a step's mean loss to the parameters and returns that loss.
  double accumulate_gradients() {
    double total = 0;
    for (std::int64_t i = 0; i < config_.grad_accum_steps; ++i) {
      const auto loss = sum_loss(i) / static_cast<double>(num_targets());
      loss.backward();
      total += loss.item<double>();
    }
    return total;
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
  TrainConfig config_;
};

class CausalTrainingParity : public TrainingParity {};

TEST_P(TrainingParity, GradientsOfTheFirstStepAreThoseOfTransformers) {
  model_->train();
  accumulate_gradients();
  expect_gradients(trainable_parameters(*model_), "first_gradient.", kFirstTolerance);
}

TEST_P(TrainingParity, TenLossesAndTheLastGradientsAreThoseOfTransformers) {
  AdamW optimizer(trainable_parameters(*model_), {.beta1 = config_.beta1,
                                                  .beta2 = config_.beta2,
                                                  .eps = config_.eps,
                                                  .weight_decay = config_.weight_decay});
  model_->train();
  for (std::int64_t step = 0; step < config_.steps; ++step) {
    const double loss = accumulate_gradients();
    if (step + 1 == config_.steps) {
      expect_gradients(optimizer.parameters(), "last_gradient.", kLastTolerance);
    }
    const double grad_norm = clip_grad_norm_(optimizer.parameters(), config_.max_grad_norm);
    const double learning_rate = learning_rate_at(config_, step);
    expect_step(step, loss, grad_norm, learning_rate);
    optimizer.step(learning_rate);
    optimizer.zero_grad();
  }
}

// A step sees all rows, so that the order in which the trainer draws them does not matter.
TEST_P(CausalTrainingParity, TheTrainerWritesTransformersLosses) {
  const auto ids_NT = expected_.at("input_ids");
  std::string text;
  for (std::int64_t i = 0; i < ids_NT.numel(); ++i) {
    text += static_cast<char>(64 + ids_NT.flatten()[i].item<std::int64_t>());
  }
  const testing::TempFolder folder;
  const TextDataset dataset(folder.file("rows.txt", text), testing::ByteTokenizer(),
                            ids_NT.size(1));
  ASSERT_EQ(dataset.size(), ids_NT.size(0));
  testing::fit_in(folder.path("run"), *model_, dataset, config_);
  const std::string metrics = read_text(folder.path("run/metrics.jsonl"));
  const auto lines = split_lines(metrics);
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(config_.steps));
  for (std::int64_t step = 0; step < config_.steps; ++step) {
    const auto line = nlohmann::json::parse(lines[static_cast<std::size_t>(step)]);
    expect_step(step, line["loss"], line["grad_norm"], line["learning_rate"]);
  }
}

constexpr const char* kCausalCases[] = {"train_llama_tied", "train_llama_untied",
                                        "train_mamba_tied", "train_mamba_untied"};
INSTANTIATE_TEST_SUITE_P(Causal, TrainingParity, ::testing::ValuesIn(kCausalCases));
INSTANTIATE_TEST_SUITE_P(Causal, CausalTrainingParity, ::testing::ValuesIn(kCausalCases));
INSTANTIATE_TEST_SUITE_P(Bert, TrainingParity,
                         ::testing::Values("train_bert_tied", "train_bert_untied"));

}  // namespace
}  // namespace lowbank
