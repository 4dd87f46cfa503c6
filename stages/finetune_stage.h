#pragma once

#include "config/run_stage.h"
#include "config/stages/finetune_config.h"

namespace lowbank {

/// Trains a checkpoint on text and saves it as `checkpoint` of the run folder (docs/finetune.md).
void finetune_stage(const FinetuneConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
