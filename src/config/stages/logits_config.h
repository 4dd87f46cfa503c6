#pragma once

#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct LogitsConfig : StageConfig {
  std::string checkpoint;
  std::string ids;
  std::string out;
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
