#pragma once

#include "config/run_stage.h"
#include "config/stages/compress_config.h"

namespace lowbank {

/// `lowbank compress`: factors the chosen linears of a checkpoint, or multiplies factors out
/// (docs/compress.md).
void compress_stage(const CompressConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
