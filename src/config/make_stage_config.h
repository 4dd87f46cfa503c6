#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

/// The config of the stage with this name, or nullptr if there is none. This is the only list of
/// stages and the only place that includes all their configs; a stage includes its own config only.
std::unique_ptr<StageConfig> make_stage_config(const std::string& stage);
std::vector<std::string> stage_names();

}  // namespace lowbank
