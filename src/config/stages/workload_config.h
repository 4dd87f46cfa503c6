#pragma once

#include <cstdint>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct WorkloadConfig : StageConfig {
  std::string checkpoint;
  std::int64_t context = 512;
  std::int64_t batch = 1;
  std::string phase = "both";
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
