#pragma once

#include "config/run_stage.h"
#include "config/stages/generate_config.h"

namespace lowbank {

/// `lowbank generate`: continues a prompt and prints the text (docs/generate.md).
void generate_stage(const GenerateConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
