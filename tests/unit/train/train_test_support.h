#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/randn.h>
#include <nlohmann/json.hpp>

#include "config/run_dir.h"
#include "config/stages/finetune_config.h"
#include "data/text_dataset.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/svd_linear.h"
#include "temp_folder.h"
#include "tokenizers/tokenizer.h"
#include "torch_support.h"
#include "train/resume_point.h"
#include "train/text_examples.h"
#include "train/trainer.h"

namespace lowbank::testing {

/// A tokenizer whose ids are the low six bits of each byte.
class ByteTokenizer : public tokenizers::Tokenizer {
 public:
  void encode_part(const tokenizers::TextPart& part, bool,
                   tokenizers::TokenWriter& out) const override {
    for (std::size_t i = 0; i < part.text.size(); ++i) out.add(part.text[i] & 63, i + 1);
  }
  std::string decode(std::span<const std::int64_t>) const override { return {}; }
  void decode_list(const tokenizers::IdList&,
                   const std::function<void(std::string_view)>&) const override {}
  std::string decode_piece(std::int64_t, std::int64_t) const override { return {}; }
  std::int64_t vocab_size() const override { return 64; }
  std::optional<std::int64_t> bos_id() const override { return std::nullopt; }
  std::optional<std::int64_t> eos_id() const override { return std::nullopt; }
};

/// Llama of two small layers, with a tied head.
inline std::shared_ptr<LanguageModel> tiny_model(std::uint64_t seed = 3) {
  const nlohmann::ordered_json config = {
      {"model_type", "llama"},       {"vocab_size", 64},
      {"hidden_size", 16},           {"intermediate_size", 24},
      {"num_hidden_layers", 2},      {"num_attention_heads", 2},
      {"num_key_value_heads", 1},    {"max_position_embeddings", 64},
      {"tie_word_embeddings", true}, {"initializer_range", 0.1}};
  return make_random_model(config, RandomKey(seed));
}

/// tiny_model with random rank-5 factors in every slot.
inline std::shared_ptr<LanguageModel> factored_tiny_model() {
  auto model = tiny_model();
  torch::manual_seed(0);
  for (auto& slot : model->slots()) {
    const auto in = slot.get().in_features(), out = slot.get().out_features();
    slot.replace(std::make_shared<SvdLinear>(0.3 * at::randn({out, 5}), at::randn({5}).abs() + 0.1,
                                             0.3 * at::randn({5, in}), torch::Tensor()));
  }
  return model;
}

inline std::string toy_text(int num_lines) {
  std::string text;
  for (int i = 0; i < num_lines; ++i) {
    text += "the quick brown fox " + std::to_string(i * 37 % 101) + " jumps over the lazy dog\n";
  }
  return text;
}

/// A dataset of toy text cut into examples of 16 tokens.
inline TextDataset toy_dataset(const TempFolder& folder, int num_lines = 40) {
  return TextDataset(folder.file("toy.txt", toy_text(num_lines)), ByteTokenizer(), 16);
}

inline std::map<std::string, torch::Tensor> copy_parameters(const LanguageModel& model) {
  std::map<std::string, torch::Tensor> copies;
  for (const auto& item : model.named_parameters()) {
    copies.emplace(item.key(), item.value().detach().clone());
  }
  return copies;
}

/// The options of a test's run of fit().
struct TrainSettings {
  TrainOptions options = {};
  LearningRate learning_rate = {};
  AdamWOptions adamw = {.beta2 = 0.95, .weight_decay = 0.1};
  BatchShape shape = {};
};

/// Six steps, with validation and a snapshot after every second step.
inline TrainSettings short_settings() {
  return {.options = {.steps = 6, .eval_every = 2, .save_every = 2},
          .learning_rate = {.peak = 1e-2, .warmup_steps = 2},
          .shape = {.micro_batch_size = 4}};
}

/// fit() in a run folder of its own. What a resumed run compares is the peak learning rate.
inline TrainResult fit_set(const std::string& folder, LanguageModel& model,
                           const Objective& objective, BatchSource& source, const HeldOut* held_out,
                           const TrainSettings& settings, bool resume = false,
                           std::vector<TrainHook*> hooks = {}) {
  FinetuneConfig config;
  config.train.learning_rate = settings.learning_rate.peak;
  config.train.save_every = settings.options.save_every;
  config.resume = resume;
  RunDir out(folder, config);
  const ResumePoint point(folder, config, resume);
  out.begin();
  out.keep();
  RunFolderSink sink(out, point);
  AdamW optimizer(trainable_parameters(model), settings.adamw);
  return fit({.model = model,
              .objective = objective,
              .source = source,
              .held_out = held_out,
              .optimizer = optimizer,
              .learning_rate = settings.learning_rate,
              .options = settings.options,
              .dropout_key = RandomKey(9).derive("dropout"),
              .hooks = std::move(hooks),
              .sink = sink});
}

/// fit_set() on the next tokens of a text.
inline TrainResult fit_in(const std::string& folder, LanguageModel& model, const TextDataset& train,
                          const TrainSettings& settings, std::uint64_t seed = 0,
                          const TextDataset* valid = nullptr, bool resume = false,
                          std::vector<TrainHook*> hooks = {}) {
  ShuffledSource source(std::make_shared<NextTokenExamples>(train), settings.shape,
                        RandomKey(seed).derive("epochs"));
  std::optional<HeldOut> held_out;
  if (valid != nullptr) {
    held_out.emplace(std::make_shared<NextTokenExamples>(*valid),
                     batches_in_order(valid->size(), settings.shape.micro_batch_size));
  }
  return fit_set(folder, model, TokenObjective(), source, held_out ? &*held_out : nullptr, settings,
                 resume, std::move(hooks));
}

/// The summed loss of predicting the next tokens of these rows.
inline torch::Tensor next_token_loss(LanguageModel& model, const torch::Tensor& ids_BT) {
  return TokenObjective().loss_sum(model, next_token_batch(ids_BT));
}

}  // namespace lowbank::testing
