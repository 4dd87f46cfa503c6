#include "core/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <stdexcept>

namespace lowbank {
namespace {

// P(|T| <= t) for a whole number of degrees of freedom.
double central_probability(double t, std::int64_t dof) {
  const double nu = static_cast<double>(dof);
  const double theta = std::atan(t / std::sqrt(nu));
  const double cos2 = std::cos(theta) * std::cos(theta);
  double term = dof % 2 == 1 ? std::cos(theta) : 1.0;
  double sum = dof == 1 ? 0.0 : term;
  for (std::int64_t k = dof % 2 == 1 ? 3 : 2; k <= dof - 2; k += 2) {
    term *= cos2 * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  if (dof % 2 == 0) return std::sin(theta) * sum;
  return 2.0 / std::numbers::pi * (theta + std::sin(theta) * sum);
}

// The sum of the squared distances from the mean.
double square_deviations(std::span<const double> values) {
  const double middle = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - middle) * (value - middle);
  return sum;
}

}  // namespace

double mean(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("mean: no values");
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double geometric_mean(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("geometric_mean: no values");
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

double student_t_975(std::int64_t dof) {
  if (dof < 1) throw std::invalid_argument("student_t_975: dof must be >= 1");
  if (dof > 100000) return 1.959963984540054;  // the normal quantile, equal to 6 digits
  double low = 0.0;
  double high = 13.0;  // t(0.975, 1) = 12.706 is the largest
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (central_probability(middle, dof) < 0.95 ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double median(std::vector<double> values) {
  if (values.empty()) throw std::invalid_argument("median: no values");
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double upper_quantile(std::vector<double> values, double frac) {
  if (values.empty()) throw std::invalid_argument("upper_quantile: no values");
  const auto position = static_cast<std::size_t>(frac * static_cast<double>(values.size()));
  std::sort(values.begin(), values.end());
  return values.at(position);
}

TrialSummary summarize_trials(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("summarize_trials: no values");
  TrialSummary out;
  out.num_trials = static_cast<std::int64_t>(values.size());
  out.mean = mean(values);
  if (values.size() > 1) {
    const double n = static_cast<double>(values.size());
    out.standard_error = std::sqrt(square_deviations(values) / (n - 1) / n);
    const double half = student_t_975(out.num_trials - 1) * out.standard_error;
    out.ci95_low = out.mean - half;
    out.ci95_high = out.mean + half;
  } else {
    out.ci95_low = out.ci95_high = out.mean;
  }
  return out;
}

double pearson_correlation(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) throw std::invalid_argument("pearson_correlation: sizes differ");
  if (a.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double mean_a = mean(a), mean_b = mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (!(aa > 0 && bb > 0)) return std::numeric_limits<double>::quiet_NaN();
  return ab / (std::sqrt(aa) * std::sqrt(bb));
}

std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) {
      ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
    }
    begin = end;
  }
  return ranks;
}

double spearman_correlation(std::span<const double> a, std::span<const double> b) {
  return pearson_correlation(average_ranks(a), average_ranks(b));
}

double bootstrap_stderr(const SampleStatistic& statistic, std::int64_t num_examples,
                        const RandomKey& key) {
  constexpr std::uint64_t kNumSamples = 1000;
  std::vector<std::int64_t> indices(static_cast<std::size_t>(num_examples));
  std::vector<double> values;
  for (std::uint64_t sample = 0; sample < kNumSamples; ++sample) {
    const RandomKey draw = key.derive(sample);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      indices[i] =
          static_cast<std::int64_t>(draw.below(static_cast<std::uint64_t>(num_examples), i));
    }
    if (const double value = statistic(indices); std::isfinite(value)) values.push_back(value);
  }
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(square_deviations(values) / static_cast<double>(values.size() - 1));
}

}  // namespace lowbank
