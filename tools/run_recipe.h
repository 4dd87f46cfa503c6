#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

/// The words of `lowbank run`.
struct RunOptions : Settings {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  std::string recipe;
  Pairs common;     ///< seed, threads, device, dtype: in place of the recipe's own
  Pairs settings;   ///< --set: "<stage id>.<key>" or "*.<key>", and the value
  std::string out;  ///< folder of all stages; "" = runs/<recipe name>
  bool quiet = false;
  bool json = false;
  std::string command;  ///< as it was typed, for "go on with ..."
  Fields fields() const override;
};

struct PlannedStage {
  std::string id;  ///< `as`, or the stage's name
  std::unique_ptr<StageConfig> config;
};

/// A recipe whose every stage was checked: keys, ranges, references, inputs, output folders.
struct RunPlan {
  std::string name;
  std::string folder;
  std::vector<PlannedStage> stages;
};

/// What is left to do for a stage, judged by its run folder.
enum class StageState {
  kDone,    ///< complete, and settings, version and inputs are unchanged
  kResume,  ///< begun with the same settings and inputs, and the stage can go on from there
  kFresh
};

/// The words after `lowbank run`; nothing when they asked for the help or the version, which is
/// then printed. Errors: ConfigError.
std::optional<RunOptions> parse_run_options(std::span<const std::string> arguments);

/// Reads and checks a whole recipe; writes nothing.
/// Errors: ConfigError, IoError, naming the stage and the key.
RunPlan plan_run(const RunOptions& options);

StageState stage_state(PlannedStage& stage);

/// Runs the stages that are not done, each as a process `lowbank-<stage>` from `command_folder`,
/// and gives back the exit code of the run.
/// Errors: IoError for a missing executable; Interrupted.
int run_recipe(const RunOptions& options, const std::string& command_folder);

}  // namespace lowbank
