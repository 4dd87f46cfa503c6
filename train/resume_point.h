#pragma once

#include <optional>
#include <string>

#include "config/run_dir.h"
#include "config/stage_config.h"
#include "train/train_sink.h"

namespace lowbank {

/// The last snapshot of a run, in one file in the run folder's `state`. Saving replaces the whole
/// file, so a process that is killed leaves the previous snapshot.
class ResumePoint {
 public:
  /// With `resume`, looks for a saved snapshot and prints a note if there is none.
  /// Errors: IoError for a corrupt snapshot; ConfigError naming the first difference if it was made
  /// with other settings, inputs or another version.
  ResumePoint(const std::string& run_folder, const StageConfig& config, bool resume);

  /// Whether there is a snapshot from which to continue.
  bool can_resume() const { return can_resume_; }
  /// Hash of the settings, for a checkpoint's history.
  const std::string& settings_hash() const { return settings_hash_; }

  /// The saved snapshot; its tensors lie in the file. Errors: IoError.
  Snapshot load() const;
  /// `metrics_hash` tells what metrics.jsonl holds at this step.
  void save(const Snapshot& snapshot, const std::string& metrics_hash) const;
  /// Of the point that was saved; "" if there is none.
  const std::string& metrics_hash() const { return metrics_hash_; }
  /// Deletes the snapshot. Call it when the run is complete.
  void remove() const;

 private:
  std::string folder_, path_;
  std::string fingerprint_, settings_;  // JSON texts
  std::string settings_hash_, metrics_hash_;
  bool can_resume_ = false;
};

/// Writes metrics to a run folder's metrics.jsonl and snapshots to its resume point.
class RunFolderSink : public TrainSink {
 public:
  RunFolderSink(RunDir& out, const ResumePoint& point) : out_(out), point_(point) {}
  std::optional<Snapshot> last_snapshot() override;
  /// Errors: DamagedRecord if what is kept is not what was there when the point was saved.
  void keep_metrics(std::int64_t last_step) override;
  void add_metrics(const nlohmann::ordered_json& line) override;
  void save(const Snapshot& snapshot) override { point_.save(snapshot, out_.metrics_hash()); }

 private:
  RunDir& out_;
  const ResumePoint& point_;
};

}  // namespace lowbank
