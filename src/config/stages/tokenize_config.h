#pragma once

#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct TokenizeConfig : StageConfig {
  std::string tokenizer;
  std::string file;
  std::string out;
  bool special = false;
  bool sentencepiece_raw = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
};

}  // namespace lowbank
