#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/philox.h"

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

/// The arithmetic mean. Errors: std::invalid_argument for no values.
double mean(std::span<const double> values);

/// exp of the mean of the logarithms. Errors: std::invalid_argument for no values.
double geometric_mean(std::span<const double> values);

/// The middle value, or the mean of the middle two. Errors: std::invalid_argument for no values.
double median(std::vector<double> values);

/// The value at position floor(frac * n) of the n values in rising order, counted from 0, without
/// interpolation. For `frac` 0.5 and an even n, this is the upper of the middle two. `frac` is in
/// [0, 1).
/// Errors: std::invalid_argument for no values.
double upper_quantile(std::vector<double> values, double frac);

/// Quantile 0.975 of Student's t distribution with `dof` >= 1 degrees of freedom.
/// Source: Abramowitz & Stegun 26.7.3 and 26.7.4 (finite series for whole degrees of freedom).
double student_t_975(std::int64_t dof);

/// Pearson's correlation of two equally long lists; NaN if one of them has no spread (all its
/// values are equal, or there are fewer than two).
double pearson_correlation(std::span<const double> a, std::span<const double> b);

/// Ranks of the values, counted from 1; equal values share the mean of their ranks.
std::vector<double> average_ranks(std::span<const double> values);

/// Spearman's correlation: Pearson's of the ranks, ties averaged.
double spearman_correlation(std::span<const double> a, std::span<const double> b);

/// Computes a statistic of the examples whose indices it is given.
using SampleStatistic = std::function<double(std::span<const std::int64_t> indices)>;

/// Standard error by the bootstrap: the standard deviation of the statistic over 1000 samples of
/// `num_examples` examples, drawn with replacement from `key`. Samples without a finite value are
/// left out; NaN if fewer than two are left.
///
/// Source:  Efron 1979; as lm-evaluation-harness does for metrics that are not means.
/// Differs: draws from Philox instead of Python's generator.
double bootstrap_stderr(const SampleStatistic& statistic, std::int64_t num_examples,
                        const RandomKey& key);

}  // namespace lowbank
