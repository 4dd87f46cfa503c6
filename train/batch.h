#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <c10/core/Device.h>
#include <torch/types.h>

#include "models/language_model.h"

namespace lowbank {

/// What one forward pass of training or validation reads.
struct Batch {
  ModelInput input;
  /// What the objective compares the output with: see TokenObjective and SequenceObjective.
  torch::Tensor targets;
  /// How many targets count: a step's loss is the sum over its batches divided by their weights.
  double weight = 0;
  /// What speed is counted in. Padding does not count, and neither does a token that has no next
  /// one to predict.
  std::int64_t num_tokens = 0;
  std::vector<std::int64_t> indices = {};  ///< which examples the rows are
};

/// The same batch with its tensors on `device`.
Batch to_device(Batch batch, c10::Device device);

/// One look at an example. An epoch looks at each example once, so that this pair can name random
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
