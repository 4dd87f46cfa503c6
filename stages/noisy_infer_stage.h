#pragma once

#include "config/run_stage.h"
#include "config/stages/noisy_infer_config.h"

namespace lowbank {

/// `lowbank noisy-infer`: perplexity of a factored model in noisy memory cells, as a function of
/// the share of ranks in error-free cells, for several ways to choose these ranks
/// (docs/noisy-infer.md).
void noisy_infer_stage(const NoisyInferConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
