#pragma once

#include "config/run_stage.h"
#include "config/stages/logits_config.h"

namespace lowbank {

/// One forward pass over the ids of a file: `lowbank logits` (docs/logits.md).
void logits_stage(const LogitsConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
