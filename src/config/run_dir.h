#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "config/stage_config.h"

namespace lowbank {

class FolderLock;

/// The folder of one stage. It holds resolved.json (the settings), started.json (the fingerprint,
/// until the stage is complete), metrics.jsonl (written as the stage runs), metrics.json (the final
/// metrics), log.txt, run.json (when, where, how long, and the fingerprint; the stage is complete
/// if this file exists), and the stage's outputs. A trainer keeps what it needs to resume in the
/// folder `state`.
class RunDir {
 public:
  /// Checks that the folder can be written and is new, empty, or that of an earlier run of this
  /// stage. Creates nothing. Errors: IoError if it cannot be created or written; ConfigError if it
  /// holds files that are not a run's, or another stage's results.
  RunDir(std::string folder, const StageConfig& config);
  /// If begin() created the folder and the stage failed before it wrote anything worth keeping,
  /// removes the folder and the parents that begin() created.
  ~RunDir();
  RunDir(const RunDir&) = delete;
  RunDir& operator=(const RunDir&) = delete;

  /// Creates and locks the folder, without a change to what is in it. For a stage that writes
  /// before it calls begin(), which locks by itself. Errors: IoError if another process works in the
  /// folder.
  void lock();

  /// Locks the folder, writes resolved.json, opens log.txt. Call once all inputs are
  /// read and checked, so that a bad input leaves nothing behind and an earlier output untouched.
  /// Unless the stage's key `resume` is set, drops the metrics and the state of an earlier run.
  /// Errors: IoError if another process works in the folder.
  void begin();

  const std::string& path() const { return path_; }
  std::string path(std::string_view name) const;

  /// Atomic write of a file of this folder.
  void write(std::string_view name, std::string_view bytes);
  /// Adds a line to metrics.jsonl. From here on the folder is kept even if the stage fails.
  void append_metrics(const nlohmann::ordered_json& line);
  /// The objects of metrics.jsonl, without a last line that was cut off. Errors: DamagedRecord,
  /// naming the line.
  nlohmann::ordered_json read_metrics() const;
  /// Of the content of metrics.jsonl, as hash_bytes() gives it.
  std::string metrics_hash() const;
  /// Removes the lines of metrics.jsonl for which `keep` returns false: a resumed run goes back to
  /// its last saved step. Errors: DamagedRecord.
  void keep_metrics(const std::function<bool(const nlohmann::ordered_json&)>& keep);
  /// Writes metrics.json.
  void write_metrics(const nlohmann::ordered_json& metrics);
  /// Writes run.json: the stage is complete. Called by run_stage.
  void finish(double seconds);
  /// The folder stays even if the stage fails.
  void keep() { keep_ = true; }

 private:
  void check_folder() const;

  std::string path_;
  const StageConfig& config_;
  std::unique_ptr<FolderLock> lock_;
  std::string fingerprint_;    // as JSON text: what the stage depended on when it began
  std::string first_created_;  // topmost folder that begin() created; "" if none
  bool begun_ = false;
  bool keep_ = false;
};

/// A finished run's run.json. Errors: IoError if it is damaged or was changed: its last member is the
/// hash of the others.
nlohmann::ordered_json read_run_record(const std::string& folder);

/// Name of this machine's processor, as /proc/cpuinfo gives it.
std::string cpu_name();

}  // namespace lowbank
