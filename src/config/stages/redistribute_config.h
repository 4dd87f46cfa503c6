#pragma once

#include <cstdint>
#include <string>

#include "config/parts/text_config.h"
#include "config/parts/train_config.h"
#include "config/stage_config.h"

namespace lowbank {

struct RedistributeConfig : StageConfig {
  std::string checkpoint;
  TextDataConfig data;
  TrainConfig train;
  std::string importance = "abs_grad";
  std::int64_t importance_max_examples = 0;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
