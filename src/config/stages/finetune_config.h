#pragma once

#include <string>

#include "config/parts/table_config.h"
#include "config/parts/text_config.h"
#include "config/parts/train_config.h"
#include "config/stage_config.h"

namespace lowbank {

struct FinetuneConfig : StageConfig {
  std::string checkpoint;
  /// auto (by the model's head) | next_token | masked_lm | classification
  std::string objective = "auto";
  TextDataConfig data;  ///< classification: tables instead of texts
  TableConfig table;
  TrainConfig train;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
