#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/philox.h"
#include "data/length_batches.h"
#include "data/text_dataset.h"
#include "train/batch.h"

namespace lowbank {

/// The endless stream of batches that training reads. Each one is computed from its place in the
/// stream and never from the batches before it, so that a resumed run continues exactly.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Micro-batches in an optimizer step.
  virtual std::int64_t num_micros() const = 0;
  /// Micro-batch `micro` in [0, num_micros()) of step `step`, counted from 0. It may be empty.
  virtual Batch at(std::int64_t step, std::int64_t micro) = 0;
};

/// How the examples of a step are cut into batches.
struct BatchShape {
  std::int64_t micro_batch_size = 8;  ///< examples per forward pass
  std::int64_t num_micros = 1;        ///< forward passes per step
  std::int64_t step_size() const { return micro_batch_size * num_micros; }
};

/// Examples in a random order that differs from epoch to epoch; a batch may hold the end of one
/// epoch and the beginning of the next.
class ShuffledSource : public BatchSource {
 public:
  ShuffledSource(std::shared_ptr<const Examples> examples, const BatchShape& shape,
                 const RandomKey& key);
  std::int64_t num_micros() const override { return shape_.num_micros; }
  Batch at(std::int64_t step, std::int64_t micro) override;

 private:
  std::shared_ptr<const Examples> examples_;
  BatchShape shape_;
  EpochSampler sampler_;
};

/// Batches of examples of about one length, as length_grouped_batches draws them. A group is one
/// whole step, so the examples of a step do not depend on how the step is cut. The last step of an
/// epoch may be smaller.
class LengthGroupedSource : public BatchSource {
 public:
  /// `lengths` has the number of tokens of every example.
  LengthGroupedSource(std::shared_ptr<const Examples> examples, std::vector<std::int64_t> lengths,
                      const BatchShape& shape, const RandomKey& key);
  std::int64_t num_micros() const override { return shape_.num_micros; }
  Batch at(std::int64_t step, std::int64_t micro) override;

 private:
  std::shared_ptr<const Examples> examples_;
  std::vector<std::int64_t> lengths_;
  BatchShape shape_;
  RandomKey key_;
  std::int64_t steps_per_epoch_;
  std::int64_t epoch_ = -1;
  std::vector<BatchIndices> groups_;  // of epoch_
};

/// Examples to validate on, each in one batch.
class HeldOut {
 public:
  HeldOut(std::shared_ptr<const Examples> examples, std::vector<BatchIndices> batches);
  std::int64_t num_batches() const { return static_cast<std::int64_t>(batches_.size()); }
  /// Batch `index`, always the same, including its random draws.
  Batch at(std::int64_t index) const;

 private:
  std::shared_ptr<const Examples> examples_;
  std::vector<BatchIndices> batches_;
};

/// Examples 0 .. count - 1 in their order.
std::vector<BatchIndices> batches_in_order(std::int64_t count, std::int64_t batch_size);

}  // namespace lowbank
