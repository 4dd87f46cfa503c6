#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lowbank {

double learning_rate_at(const LearningRate& rate, std::int64_t num_steps, std::int64_t step) {
  if (step < rate.warmup_steps) {
    return rate.peak * static_cast<double>(step + 1) / static_cast<double>(rate.warmup_steps);
  }
  if (rate.schedule == Schedule::kConstant) return rate.peak;
  const std::int64_t peak_step = std::max<std::int64_t>(rate.warmup_steps - 1, 0);
  const std::int64_t last_step = std::max<std::int64_t>(num_steps - 1, peak_step + 1);
  const double progress =
      static_cast<double>(step - peak_step) / static_cast<double>(last_step - peak_step);
  const double left = rate.schedule == Schedule::kLinear
                          ? 1.0 - progress
                          : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return rate.peak * (rate.min_frac + (1.0 - rate.min_frac) * left);
}

}  // namespace lowbank
