#pragma once

#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "models/language_model.h"
#include "train/batch.h"
#include "train/batch_source.h"

namespace lowbank {

/// Scores by name, in the order in which they are shown.
using Scores = std::vector<std::pair<std::string, double>>;

/// What a model is trained to do.
class Objective {
 public:
  virtual ~Objective() = default;
  /// The sum of the loss over the targets that count (a scalar); divided by the batch's weight, it
  /// is their mean loss.
  virtual torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const = 0;
  /// Evaluates the model on held-out examples. The first score is "loss", the mean over all
  /// targets. Records no gradient and draws no random numbers.
  virtual Scores score(LanguageModel& model, const HeldOut& held_out) const = 0;
};

/// Predicting tokens: the next ones, or those that were masked. Targets are [B, S] int64 with
/// S <= T: the right tokens at the first S positions, or kIgnoreIndex at positions that do not
/// count.
/// Scores: loss (nats per target) and perplexity.
class TokenObjective : public Objective {
 public:
  torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const override;
  Scores score(LanguageModel& model, const HeldOut& held_out) const override;
};

/// Classifying or rating whole sequences. Targets [B] int64 are classes. Targets [B] float32 are
/// values; the model then has one output, and the loss is the squared error.
///
/// Source:  transformers' BertForSequenceClassification (cross-entropy, and MSELoss for one label).
/// Scores:  loss, and for classes the accuracy.
class SequenceObjective : public Objective {
 public:
  torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const override;
  Scores score(LanguageModel& model, const HeldOut& held_out) const override;
};

}  // namespace lowbank
