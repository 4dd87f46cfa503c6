#pragma once

#include <optional>
#include <string>

#include "config/run_dir.h"
#include "config/stage_config.h"
#include "train/train_sink.h"

namespace lowbank {

/// The last snapshot of a run, in one file of the run folder's `state` that is replaced whole, so
/// that a killed process leaves the snapshot before.
class ResumePoint {
 public:
  /// With `resume` looks for a saved point, and says so in a note when there is none.
  /// Errors: IoError for a corrupt one; ConfigError if it was made with other settings, inputs or
  /// version, naming the first difference.
  ResumePoint(const std::string& run_folder, const StageConfig& config, bool resume);

  /// There is a point to go on from.
  bool can_resume() const { return can_resume_; }
  /// Hash of the settings, for a checkpoint's history.
  const std::string& settings_hash() const { return settings_hash_; }

  /// The saved snapshot; its tensors lie in the file. Errors: IoError.
  Snapshot load() const;
  void save(const Snapshot& snapshot) const;
  /// Once the run is complete.
  void remove() const;

 private:
  std::string folder_, path_;
  std::string fingerprint_, settings_;  // JSON texts
  std::string settings_hash_;
  bool can_resume_ = false;
};

/// Metrics go to a run folder's metrics.jsonl, snapshots to its resume point.
class RunFolderSink : public TrainSink {
 public:
  RunFolderSink(RunDir& out, const ResumePoint& point) : out_(out), point_(point) {}
  std::optional<Snapshot> last_snapshot() override;
  void keep_metrics(std::int64_t last_step) override;
  void add_metrics(const nlohmann::ordered_json& line) override;
  void save(const Snapshot& snapshot) override { point_.save(snapshot); }

 private:
  RunDir& out_;
  const ResumePoint& point_;
};

}  // namespace lowbank
