#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lowbank {

double learning_rate_at(const TrainConfig& config, std::int64_t step) {
  const double peak = config.learning_rate;
  if (step < config.warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return peak;
  const std::int64_t peak_step = std::max<std::int64_t>(config.warmup_steps - 1, 0);
  const std::int64_t last_step = std::max<std::int64_t>(config.steps - 1, peak_step + 1);
  const double progress =
      static_cast<double>(step - peak_step) / static_cast<double>(last_step - peak_step);
  const double left = config.schedule == "linear"
                          ? 1.0 - progress
                          : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return peak * (config.min_learning_rate_frac + (1.0 - config.min_learning_rate_frac) * left);
}

}  // namespace lowbank
