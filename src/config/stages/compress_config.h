#pragma once

#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

struct CompressConfig : StageConfig {
  std::string checkpoint;
  std::string method = "svd";
  std::string rank = "break_even";
  std::vector<std::string> modules;
  std::string to = "factors";
  std::string dtype = "keep";
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
