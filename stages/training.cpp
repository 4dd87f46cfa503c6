#include "stages/training.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "eval/generate.h"
#include "train/text_examples.h"

namespace lowbank {
namespace {

Schedule schedule_of(const std::string& name) {
  if (name == "constant") return Schedule::kConstant;
  return name == "linear" ? Schedule::kLinear : Schedule::kCosine;
}

}  // namespace

TrainOptions train_options(const TrainConfig& config) {
  return {.steps = config.steps,
          .max_grad_norm = config.max_grad_norm,
          .eval_every = config.eval_every,
          .save_every = config.save_every};
}

LearningRate learning_rate_options(const TrainConfig& config) {
  return {.peak = config.learning_rate,
          .min_frac = config.min_learning_rate_frac,
          .schedule = schedule_of(config.schedule),
          .warmup_steps = config.warmup_steps};
}

AdamWOptions adamw_options(const TrainConfig& config) {
  return {.beta1 = config.beta1,
          .beta2 = config.beta2,
          .eps = config.eps,
          .weight_decay = config.weight_decay};
}

BatchShape batch_shape(const TrainConfig& config) {
  return {.micro_batch_size = config.micro_batch_size, .num_micros = config.grad_accum_steps};
}

TrainTexts open_train_texts(const TextDataConfig& data, const tokenizers::Tokenizer& tokenizer,
                            std::int64_t max_valid_examples) {
  TrainTexts texts{.train = TextDataset(data.train, tokenizer, data.context), .valid = {}};
  if (!data.valid.empty()) {
    texts.valid.emplace(data.valid, tokenizer, data.context, max_valid_examples);
  }
  return texts;
}

std::unique_ptr<tokenizers::Tokenizer> open_train_tokenizer(const LoadedModel& loaded,
                                                            std::int64_t context) {
  auto tokenizer = tokenizers::open_tokenizer(loaded.folder);
  const std::int64_t max_context = loaded.model->max_context();
  if (max_context > 0 && context > max_context) {
    throw ConfigError(fmt::format("data.context: must be <= {}, the longest context of {}; got {}",
                                  max_context, loaded.folder, context));
  }
  check_vocabulary(*tokenizer, *loaded.model, loaded.folder);
  return tokenizer;
}

TrainingSet next_token_set(const TrainTexts& texts, const TrainConfig& config,
                           const RandomKey& key) {
  TrainingSet set;
  set.objective = std::make_unique<TokenObjective>();
  set.source = std::make_unique<ShuffledSource>(std::make_shared<NextTokenExamples>(texts.train),
                                                batch_shape(config), key.derive("epochs"));
  if (texts.valid.has_value()) {
    set.held_out.emplace(std::make_shared<NextTokenExamples>(*texts.valid),
                         held_out_batches(texts.valid->size(), config));
  }
  return set;
}

std::vector<BatchIndices> held_out_batches(std::int64_t num_examples, const TrainConfig& config) {
  const std::int64_t most = config.eval_max_chunks;
  return batches_in_order(most == 0 ? num_examples : std::min(most, num_examples),
                          config.micro_batch_size);
}

TrainResult run_training(LanguageModel& model, const TrainingSet& set, const TrainConfig& config,
                         const RandomKey& key, RunDir& out, const ResumePoint& point,
                         bool save_at_end) {
  AdamW optimizer(trainable_parameters(model), adamw_options(config));
  RunFolderSink sink(out, point);
  TrainOptions options = train_options(config);
  options.save_at_end = save_at_end;
  return fit({.model = model,
              .objective = *set.objective,
              .source = *set.source,
              .held_out = set.held_out.has_value() ? &*set.held_out : nullptr,
              .optimizer = optimizer,
              .learning_rate = learning_rate_options(config),
              .options = options,
              .dropout_key = key.derive("dropout"),
              .sink = sink});
}

TrainingMetrics training_metrics(const TrainResult& result, const LanguageModel& model) {
  const auto& progress = result.progress;
  const auto num_tokens = static_cast<double>(progress.num_tokens);
  TrainingMetrics metrics{
      .steps = progress.step,
      .num_tokens = progress.num_tokens,
      .tokens_per_second = progress.step_seconds > 0 ? num_tokens / progress.step_seconds : 0.0,
      .seconds = progress.seconds,
      .num_params = count_parameters(model),
      .num_trainable = result.num_trainable};
  for (std::size_t i = 0; i < progress.scores.size(); ++i) {
    const auto& [name, value] = progress.scores[i];
    metrics.held_out.push_back(
        {.name = name, .start = progress.start_scores[i].second, .end = value});
  }
  return metrics;
}

void print_scores(const TrainResult& result, const std::string& valid_file) {
  const auto& progress = result.progress;
  if (progress.scores.empty()) return;
  const auto& [name, value] = progress.scores.back();
  const double start = progress.start_scores.back().second;
  if (name == kPerplexityScore) {
    print("perplexity on {}: {:.2f} before, {:.2f} after {} steps", valid_file, start, value,
          progress.step);
  } else {
    print("{} on {}: {:.4f} before, {:.4f} after {} steps", name, valid_file, start, value,
          progress.step);
  }
}

}  // namespace lowbank
