#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "config/stage_config.h"

namespace lowbank {

/// The folder of one stage: resolved.json (settings), started.json (fingerprint; until complete),
/// metrics.jsonl (as it goes), metrics.json (final), log.txt, run.json (when, where, how long,
/// fingerprint; its presence means complete), and the stage's outputs. A trainer keeps what it
/// needs to resume in the folder `state`.
class RunDir {
 public:
  /// Checks that the folder can be written and is new, empty, or an earlier run's; creates nothing.
  /// Errors: IoError if it cannot be created or written; ConfigError if it holds foreign files.
  RunDir(std::string folder, const StageConfig& config);
  /// When begin() made the folder and the stage failed before anything worth keeping: removes it,
  /// and the parents it made.
  ~RunDir();
  RunDir(const RunDir&) = delete;
  RunDir& operator=(const RunDir&) = delete;

  /// Creates the folder, writes resolved.json, opens log.txt. Call once all inputs are read and
  /// checked, so that a bad input leaves nothing behind and an earlier output untouched. Unless the
  /// stage's key `resume` is set, drops the metrics and the state of an earlier run.
  void begin();

  const std::string& path() const { return path_; }
  std::string path(std::string_view name) const;

  /// Atomic write of a file of this folder.
  void write(std::string_view name, std::string_view bytes);
  /// Adds a line to metrics.jsonl. From here on the folder is kept even if the stage fails.
  void append_metrics(const nlohmann::ordered_json& line);
  /// Drops the lines of metrics.jsonl for which `keep` is false (a resumed run goes back to its
  /// last saved step) and returns the others.
  nlohmann::ordered_json keep_metrics(
      const std::function<bool(const nlohmann::ordered_json&)>& keep);
  /// Writes metrics.json.
  void write_metrics(const nlohmann::ordered_json& metrics);
  /// Writes run.json: the stage is complete. Called by run_stage.
  void finish(double seconds);
  /// The folder stays even if the stage fails.
  void keep() { keep_ = true; }

 private:
  std::string path_;
  const StageConfig& config_;
  std::string fingerprint_;    // as JSON text: what the stage depended on when it began
  std::string first_created_;  // topmost folder that begin() made; "" if none
  bool begun_ = false;
  bool keep_ = false;
};

/// Name of this machine's processor, as /proc/cpuinfo gives it.
std::string cpu_name();

}  // namespace lowbank
