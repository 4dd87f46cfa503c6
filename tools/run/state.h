#pragma once

#include "config/stage_config.h"

namespace lowbank {

/// What remains to be done for a stage, judged by its run folder.
enum class StageState {
  kDone,    ///< complete, and settings, version and inputs are unchanged
  kResume,  ///< begun with the same settings and inputs, and the stage can go on from there
  kFresh
};

StageState stage_state(const StageConfig& config);

}  // namespace lowbank
