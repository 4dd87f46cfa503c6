#pragma once

#include <string>

#include "config/parts/text_config.h"
#include "config/parts/train_config.h"
#include "config/stage_config.h"

namespace lowbank {

struct FinetuneConfig : StageConfig {
  std::string checkpoint;
  TextDataConfig data;
  TrainConfig train;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
