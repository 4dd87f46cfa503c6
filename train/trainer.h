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
  /// Saves after the last step too, for a caller that has more work that may be interrupted.
  bool save_at_end = false;
};

/// The parts of a training run.
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
  std::int64_t num_tokens = 0;  ///< tokens of the batches of all steps together
  bool is_evaluated = false;    ///< whether the validation that is due at `step` is done
  Scores start_scores;          ///< before the first step; empty without validation
  Scores scores;                ///< the latest
  double step_seconds = 0;      ///< time spent in steps
  double seconds = 0;           ///< time spent in total
};

struct TrainResult {
  TrainProgress progress;
  std::int64_t num_trainable = 0;  ///< elements of the trained parameters
};

/// Trains the optimizer's parameters.
///
/// A step's gradient is that of the mean loss over all targets of its micro-batches, however the
/// step is cut; hooks add their penalties. Dropout draws from `dropout_key`, the step and the
/// micro-batch. The sink gets one line of metrics for each step and one for each validation. If the
/// sink has a snapshot, the run continues from it; parameters and metrics then equal those of a run
/// that was never interrupted (on the same machine with the same number of threads).
/// Errors: ResourceError if the loss or the gradient is not finite (parameters and the saved
/// snapshot stay as they were before that step); ConfigError for a step without any target; IoError
/// for a snapshot that does not fit; Interrupted after Ctrl-C, with a snapshot saved.
TrainResult fit(const TrainJob& job);

}  // namespace lowbank
