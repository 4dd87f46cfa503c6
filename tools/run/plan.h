#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/stage_config.h"
#include "tools/run/run_options.h"

namespace lowbank {

/// The subfolder of a run's folder that holds the stages' recipes with all values written out, and
/// what the stages print.
inline constexpr const char* kRunStageFolder = "stages";

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

/// Reads and checks a whole recipe; writes nothing.
/// Errors: ConfigError, IoError, naming the stage and the key.
RunPlan plan_run(const RunOptions& options);

}  // namespace lowbank
