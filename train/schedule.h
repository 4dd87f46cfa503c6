#pragma once

#include <cstdint>

#include "config/parts/train_config.h"

namespace lowbank {

/// Learning rate of optimizer step `step`, counted from 0.
///
/// Rises in equal parts to the peak over `warmup_steps` (the last of them has the peak), then falls
/// along half a cosine or a line, to min_learning_rate_frac of the peak at the very last step.
/// Source:  the cosine is Loshchilov and Hutter 2017 (SGDR), Eq. 5, one period.
double learning_rate_at(const TrainConfig& config, std::int64_t step);

}  // namespace lowbank
