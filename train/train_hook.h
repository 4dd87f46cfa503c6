#pragma once

#include <cstdint>

#include <torch/types.h>

#include "train/snapshot.h"

namespace lowbank {

/// What takes part in a training run besides model, objective and optimizer: a regulariser, a mask
/// whose temperature falls, a collector of gradients. Steps count from 0. With an own state a hook
/// saves and loads it, so that a resumed run goes on exactly.
class TrainHook {
 public:
  virtual ~TrainHook() = default;
  /// A scalar that is added to the mean loss of step `step`; undefined: nothing.
  virtual torch::Tensor penalty(std::int64_t /*step*/) { return {}; }
  /// The gradients of step `step` are complete, and not clipped yet.
  virtual void after_backward(std::int64_t /*step*/) {}
  /// The parameters have been updated; `num_steps` steps are done.
  virtual void after_step(std::int64_t /*num_steps*/) {}
  virtual void save(Snapshot&) const {}
  virtual void load(const Snapshot&) {}
};

}  // namespace lowbank
