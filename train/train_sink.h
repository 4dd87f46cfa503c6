#pragma once

#include <cstdint>
#include <optional>

#include <nlohmann/json_fwd.hpp>

#include "train/snapshot.h"

namespace lowbank {

/// Where a training run leaves what it has to tell, and what it needs to go on.
class TrainSink {
 public:
  virtual ~TrainSink() = default;
  /// The last snapshot of an interrupted run that is to be continued.
  virtual std::optional<Snapshot> last_snapshot() = 0;
  /// Keeps of earlier metrics what was written up to `last_step` steps; -1: nothing.
  virtual void keep_metrics(std::int64_t last_step) = 0;
  virtual void add_metrics(const nlohmann::ordered_json& line) = 0;
  virtual void save(const Snapshot& snapshot) = 0;
};

}  // namespace lowbank
