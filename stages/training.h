#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/parts/text_config.h"
#include "config/parts/train_config.h"
#include "config/results/training_metrics.h"
#include "config/run_dir.h"
#include "config/run_stage.h"
#include "core/philox.h"
#include "data/text_dataset.h"
#include "models/factory.h"
#include "tokenizers/tokenizer.h"
#include "train/resume_point.h"
#include "train/trainer.h"

namespace lowbank {

// Helpers of the stages that train: they turn a recipe into the trainer's options, and the
// trainer's result into metrics.

TrainOptions train_options(const TrainConfig& config);
LearningRate learning_rate_options(const TrainConfig& config);
AdamWOptions adamw_options(const TrainConfig& config);
BatchShape batch_shape(const TrainConfig& config);

/// What a model learns, and the examples from which it learns.
struct TrainingSet {
  std::unique_ptr<Objective> objective;
  std::unique_ptr<BatchSource> source;
  std::optional<HeldOut> held_out;
};

/// Training and held-out text of a recipe, as examples.
struct TrainTexts {
  TextDataset train;
  std::optional<TextDataset> valid;
};

/// Tokenizes and cuts the texts, of the held-out one as many examples as will be used (0: all).
/// Errors: those of TextDataset.
TrainTexts open_train_texts(const TextDataConfig& data, const tokenizers::Tokenizer& tokenizer,
                            std::int64_t max_valid_examples);

/// The tokenizer of a checkpoint that is to be trained on examples of `context` tokens.
/// Errors: those of open_tokenizer; ConfigError when the context is longer than the model's, or the
/// tokenizer has ids that the model does not know.
std::unique_ptr<tokenizers::Tokenizer> open_train_tokenizer(const LoadedModel& loaded,
                                                            std::int64_t context);

/// The first `eval_max_chunks` of the held-out examples (0 = all), in their order.
std::vector<BatchIndices> held_out_batches(std::int64_t num_examples, const TrainConfig& config);

/// A training set for predicting the next token; `key` draws the order of the examples.
TrainingSet next_token_set(const TrainTexts& texts, const TrainConfig& config,
                           const RandomKey& key);

/// Runs fit() on all parameters of the model, with metrics and snapshots in the run folder.
TrainResult run_training(LanguageModel& model, const TrainingSet& set, const TrainConfig& config,
                         const RandomKey& key, RunDir& out, const ResumePoint& point,
                         bool save_at_end = false);

/// Steps, held-out scores, tokens, time and sizes, as docs/finetune.md says.
TrainingMetrics training_metrics(const TrainResult& result, const LanguageModel& model);

/// Prints one line with the held-out scores before and after; prints nothing without validation.
void print_scores(const TrainResult& result, const std::string& valid_file);

}  // namespace lowbank
