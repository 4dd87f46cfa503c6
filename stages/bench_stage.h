#pragma once

#include "config/run_stage.h"
#include "config/stages/bench_config.h"

namespace lowbank {

/// Times the hot paths in alternation with the machine's limits and with the alternatives that a
/// user would otherwise run, so that every ratio comes from one run.
/// Errors: ConfigError for an unknown case, or one that needs --model without it.
void bench_stage(const BenchConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
