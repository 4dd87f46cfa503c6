#pragma once

#include "config/run_stage.h"
#include "config/stages/tokenize_config.h"

namespace lowbank {

/// Work of `lowbank tokenize`.
void tokenize_stage(const TokenizeConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
