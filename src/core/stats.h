#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lowbank {

/// Mean of repeated trials with its 95 % confidence interval, mean +- t(0.975, n-1) * s / sqrt(n).
struct TrialSummary {
  std::int64_t num_trials = 0;
  double mean = 0;
  double standard_error = 0;  ///< s / sqrt(n); 0 when n = 1
  double ci95_low = 0;
  double ci95_high = 0;
};

/// Errors: std::invalid_argument for an empty span.
TrialSummary summarize_trials(std::span<const double> values);

/// The middle value, or the mean of the middle two. Errors: std::invalid_argument for no values.
double median(std::vector<double> values);

/// Quantile 0.975 of Student's t distribution with `dof` >= 1 degrees of freedom.
/// Source: Abramowitz & Stegun 26.7.3 and 26.7.4 (finite series for whole degrees of freedom).
double student_t_975(std::int64_t dof);

}  // namespace lowbank
