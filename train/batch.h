#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <c10/core/Device.h>
#include <torch/types.h>

#include "models/language_model.h"

namespace lowbank {

/// The data of one forward pass of training or validation.
struct Batch {
  ModelInput input;
  /// What the objective compares the output with; TokenObjective and SequenceObjective say its
  /// form.
  torch::Tensor targets;
  /// How many targets count: a step's loss is the sum over its batches divided by their weights.
  double weight = 0;
  /// The tokens that count in tokens per second: not padding, and not a token that has no next
  /// token to predict.
  std::int64_t num_tokens = 0;
  std::vector<std::int64_t> indices = {};  ///< the example of each row
};

/// The same batch with its tensors on `device`.
Batch to_device(Batch batch, c10::Device device);

/// One use of an example in training. An epoch uses each example once, so this pair can name random
/// draws, whatever batch the example is in.
struct Visit {
  std::int64_t example = 0;
  std::int64_t epoch = 0;
};

/// Examples of a data set that can be put together into batches.
class Examples {
 public:
  virtual ~Examples() = default;
  virtual std::int64_t size() const = 0;
  /// The examples as the rows of one batch, on the CPU. The batch depends on the visits only.
  virtual Batch batch(std::span<const Visit> visits) const = 0;
};

}  // namespace lowbank
