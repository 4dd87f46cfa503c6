#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

struct BenchConfig : StageConfig {
  std::vector<std::string> cases;
  std::string model;
  std::string calibrate;
  std::int64_t runs = 5;
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
