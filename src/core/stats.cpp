#include "core/stats.h"

#include <algorithm>
#include <cmath>
#include <numbers>
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

}  // namespace

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

TrialSummary summarize_trials(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("summarize_trials: no values");
  TrialSummary out;
  out.num_trials = static_cast<std::int64_t>(values.size());
  for (const double v : values) out.mean += v;
  out.mean /= static_cast<double>(values.size());
  double square_sum = 0;
  for (const double v : values) square_sum += (v - out.mean) * (v - out.mean);
  if (values.size() > 1) {
    const double n = static_cast<double>(values.size());
    out.standard_error = std::sqrt(square_sum / (n - 1) / n);
    const double half = student_t_975(out.num_trials - 1) * out.standard_error;
    out.ci95_low = out.mean - half;
    out.ci95_high = out.mean + half;
  } else {
    out.ci95_low = out.ci95_high = out.mean;
  }
  return out;
}

}  // namespace lowbank
