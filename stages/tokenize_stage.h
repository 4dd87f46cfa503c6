#pragma once

#include "config/run_stage.h"
#include "config/stages/tokenize_config.h"

namespace lowbank {

/// `lowbank tokenize`: encodes the texts of a file and decodes them again (docs/tokenize.md).
void tokenize_stage(const TokenizeConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
