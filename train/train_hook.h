#pragma once

#include <cstdint>

#include <torch/types.h>

#include "train/snapshot.h"

namespace lowbank {

/// An addition to a training run, such as a regulariser, a mask whose temperature falls, or a
/// collector of gradients. Steps count from 0. A hook that has state must save and load it, so that
/// a resumed run continues exactly.
class TrainHook {
 public:
  virtual ~TrainHook() = default;
  /// A scalar that is added to the mean loss of step `step`; undefined: nothing is added.
  virtual torch::Tensor penalty(std::int64_t /*step*/) { return {}; }
  /// Called when the gradients of step `step` are complete, before they are clipped.
  virtual void after_backward(std::int64_t /*step*/) {}
  /// Called when the parameters have been updated; `num_steps` steps are done.
  virtual void after_step(std::int64_t /*num_steps*/) {}
  virtual void save(Snapshot&) const {}
  virtual void load(const Snapshot&) {}
};

}  // namespace lowbank
