#pragma once

#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct InspectConfig : StageConfig {
  std::string checkpoint;
  bool linears = false;
  bool history = false;
  std::string tensors;  ///< .safetensors file to write; "" = none
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
