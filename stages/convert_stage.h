#pragma once

#include "config/run_stage.h"
#include "config/stages/convert_config.h"

namespace lowbank {

/// `lowbank convert`: turns a model file or folder into a checkpoint folder or a GGUF file
/// (docs/convert.md).
void convert_stage(const ConvertConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
