#pragma once

#include <cstdint>
#include <vector>

#include "core/philox.h"
#include "models/language_model.h"
#include "train/adamw.h"
#include "train/batch_source.h"
#include "train/objective.h"
#include "train/schedule.h"
#include "train/train_hook.h"
#include "train/train_sink.h"

namespace lowbank {

struct TrainOptions {
  std::int64_t steps = 100;       ///< optimizer steps; >= 0
  double max_grad_norm = 1.0;     ///< 0 = no clipping
  std::int64_t eval_every = 50;   ///< steps between validations; 0 = only at the end
  std::int64_t save_every = 100;  ///< steps between snapshots; 0 = only when interrupted
  /// Saves after the last step too: the caller has more to do that may be interrupted.
  bool save_at_end = false;
};

/// What a training run is made of.
struct TrainJob {
  LanguageModel& model;
  const Objective& objective;
  BatchSource& source;
  const HeldOut* held_out = nullptr;  ///< nullptr: no validation
  AdamW& optimizer;                   ///< holds the parameters to be trained
  LearningRate learning_rate = {};
  TrainOptions options = {};
  RandomKey dropout_key;
  std::vector<TrainHook*> hooks = {};
  TrainSink& sink;
};

/// How far a training run has come.
struct TrainProgress {
  std::int64_t step = 0;        ///< optimizer steps done
  std::int64_t num_tokens = 0;  ///< the batches' tokens, all steps together
  bool is_evaluated = false;    ///< the validation that falls on `step` is done
  Scores start_scores;          ///< before the first step; empty without validation
  Scores scores;                ///< the latest
  double step_seconds = 0;      ///< spent in steps
  double seconds = 0;           ///< spent in all
};

struct TrainResult {
  TrainProgress progress;
  std::int64_t num_trainable = 0;  ///< elements of the trained parameters
};

/// Trains the optimizer's parameters.
///
/// A step's gradient is that of the mean loss over all targets of its micro-batches, whatever way
/// they are cut; hooks add their penalties. Dropout draws from `dropout_key`, the step and the
/// micro-batch. Gives the sink a line a step and a line a validation. Goes on from the sink's last
/// snapshot if there is one: parameters and metrics then equal those of a run that was never
/// interrupted (same machine and number of threads).
/// Errors: ResourceError when the loss or the gradient is not finite (parameters and the saved
/// snapshot stay as they were before that step); ConfigError for a step without any target;
/// IoError for a snapshot that does not fit; Interrupted after Ctrl-C, with a snapshot saved.
TrainResult fit(const TrainJob& job);

}  // namespace lowbank
