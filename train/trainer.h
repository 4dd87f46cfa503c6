#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include <torch/types.h>

#include "config/run_dir.h"
#include "config/run_stage.h"
#include "config/parts/train_config.h"
#include "core/philox.h"
#include "data/text_dataset.h"
#include "models/language_model.h"
#include "train/resume_point.h"

namespace lowbank {

/// What differs between the stages that train.
struct TrainHooks {
  std::function<void(std::int64_t step)> after_step = {};  ///< `step` optimizer steps are done
  /// Save a point after the last step too: the stage has more to do that may be interrupted.
  bool save_at_end = false;
};

struct TrainResult {
  TrainProgress progress;
  std::int64_t num_tokens = 0;     ///< tokens that were predicted, all steps together
  std::int64_t num_trainable = 0;  ///< elements of the trained parameters
};

/// Trains every parameter that asks for a gradient on next-token cross-entropy.
///
/// A step's gradient is that of the mean over all tokens of its micro-batches, whatever way they
/// are cut. Writes to metrics.jsonl a line a step and a line a validation. Goes on from `point` if
/// it can: the parameters and metrics then equal those of a run that was never interrupted (same
/// machine and number of threads).
/// Errors: ResourceError when the loss or the gradient is not finite (parameters and the saved
/// point stay as they were before that step); Interrupted after Ctrl-C, with the point saved.
TrainResult fit(LanguageModel& model, const TextDataset& train, const TextDataset* valid,
                const TrainConfig& config, const RandomKey& key, RunDir& out,
                const ResumePoint& point, const TrainHooks& hooks = {});

/// Negative log-likelihoods of tokens 1..T-1 of every example, summed; ids [B, T].
torch::Tensor sum_nll(LanguageModel& model, const torch::Tensor& ids_BT);

/// Mean negative log-likelihood, in nats a token, of the first `max_examples` examples (0 = all).
double mean_nll(LanguageModel& model, const TextDataset& dataset, std::int64_t max_examples,
                std::int64_t batch_size);

/// steps, losses, perplexities, tokens, time and sizes, as docs/finetune.md says.
void report_training(const TrainResult& result, const LanguageModel& model, Metrics& metrics);

}  // namespace lowbank
