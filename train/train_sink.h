#pragma once

#include <cstdint>
#include <optional>

#include <nlohmann/json_fwd.hpp>

#include "train/snapshot.h"

namespace lowbank {

/// Where a training run writes its metrics and the snapshots from which it can continue.
class TrainSink {
 public:
  virtual ~TrainSink() = default;
  /// The last snapshot of an interrupted run that is to be continued; nothing for a new run.
  virtual std::optional<Snapshot> last_snapshot() = 0;
  /// Deletes the metrics of an earlier run that were written after `last_step` steps; -1: all.
  virtual void keep_metrics(std::int64_t last_step) = 0;
  virtual void add_metrics(const nlohmann::ordered_json& line) = 0;
  virtual void save(const Snapshot& snapshot) = 0;
};

}  // namespace lowbank
