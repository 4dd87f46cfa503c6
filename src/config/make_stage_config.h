#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

/// Config of a stage by its name, or nullptr. The one list of stages, and the one place that knows
/// all their configs: whoever works with stages as such includes this, a stage only its own.
std::unique_ptr<StageConfig> make_stage_config(const std::string& stage);
std::vector<std::string> stage_names();

}  // namespace lowbank
