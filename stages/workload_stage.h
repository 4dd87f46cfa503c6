#pragma once

#include "config/run_stage.h"
#include "config/stages/workload_config.h"

namespace lowbank {

/// `lowbank workload` (docs/workload.md): writes workload.json.
void workload_stage(const WorkloadConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
