#pragma once

#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// Scores of held-out text that more than their objective knows by name.
inline constexpr const char* kLossScore = "loss";
inline constexpr const char* kPerplexityScore = "perplexity";

/// A line of metrics.jsonl: a step of training, or the scores of the held-out text after it.
struct TrainingLine {
  Count step = {};
  double loss = kNotReported;
  double penalty = kNotReported;  ///< of hooks
  double learning_rate = kNotReported;
  double grad_norm = kNotReported;
  double tokens_per_second = kNotReported;
  NamedNumbers held_out = {};  ///< scores by name; who reads a line names those it asks for
  ResultFields fields();
};

/// What metrics.json of `finetune` and `redistribute` says of the training (docs/finetune.md).
struct TrainingMetrics {
  /// A score of the held-out text before the first step and after the last one.
  struct HeldOut {
    std::string name = {};
    double start = kNotReported;
    double end = kNotReported;
  };

  std::vector<HeldOut> held_out = {};  ///< who reads the metrics names the scores it asks for
  Count steps = {};
  Count num_tokens = {};
  double tokens_per_second = kNotReported;
  double seconds = kNotReported;
  Count num_params = {};
  Count num_trainable = {};
  ResultFields fields();
};

}  // namespace lowbank
