#pragma once

#include <cstdint>

namespace lowbank {

/// The shape of the learning rate after the warm-up.
enum class Schedule { kConstant, kLinear, kCosine };

struct LearningRate {
  double peak = 1e-3;
  double min_frac = 0.1;  ///< of the peak, at the last step; in [0, 1]
  Schedule schedule = Schedule::kCosine;
  std::int64_t warmup_steps = 10;
};

/// Learning rate of optimizer step `step` of `num_steps`, counted from 0.
///
/// The rate rises linearly over `warmup_steps`, the last of which has the peak. It then falls along
/// half a cosine or a line, to min_frac of the peak at the very last step, or stays constant.
/// Source:  the cosine is Loshchilov and Hutter 2017 (SGDR), Eq. 5, one period.
double learning_rate_at(const LearningRate& rate, std::int64_t num_steps, std::int64_t step);

}  // namespace lowbank
