#pragma once

#include "config/run_stage.h"
#include "config/stages/redistribute_config.h"

namespace lowbank {

/// Fine-tunes a factored checkpoint and collects the importance of its ranks; the run folder is the
/// new checkpoint folder (docs/redistribute.md).
void redistribute_stage(const RedistributeConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
