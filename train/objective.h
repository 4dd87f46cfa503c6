#pragma once

#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "models/language_model.h"
#include "train/batch.h"
#include "train/batch_source.h"

namespace lowbank {

/// Figures by name, in the order in which they are shown.
using Scores = std::vector<std::pair<std::string, double>>;

/// What a model is trained to do.
class Objective {
 public:
  virtual ~Objective() = default;
  /// The loss summed over the targets that count: divided by the batch's weight, it is their mean.
  virtual torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const = 0;
  /// How well the model does on examples it does not learn from. The first figure is "loss", the
  /// mean over all targets. No gradient is recorded, nothing is drawn.
  virtual Scores score(LanguageModel& model, const HeldOut& held_out) const = 0;
};

/// Predicting tokens: the next ones, or those that were masked. Targets are [B, S] int64 with
/// S <= T: what the model has to say at the first S positions, kIgnoreIndex where nothing is asked.
/// Scores: loss (nats per target) and perplexity.
class TokenObjective : public Objective {
 public:
  torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const override;
  Scores score(LanguageModel& model, const HeldOut& held_out) const override;
};

/// Judging whole sequences: targets [B] int64 are classes, targets [B] float32 are values for a
/// model of one output, whose loss is the squared error.
///
/// Source:  transformers' BertForSequenceClassification (cross-entropy, and MSELoss for one label).
/// Scores:  loss, and for classes the accuracy.
class SequenceObjective : public Objective {
 public:
  torch::Tensor loss_sum(LanguageModel& model, const Batch& batch) const override;
  Scores score(LanguageModel& model, const HeldOut& held_out) const override;
};

}  // namespace lowbank
