#include "report/page/axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

#include <fmt/format.h>

#include "core/text.h"
#include "report/page/number_format.h"

namespace lowbank::report {
namespace {

constexpr double kLargest = 1e300;  // twice this is still finite
constexpr double kSmallestLog = 1e-300;

std::string tick_label(double value, double step, bool as_percent) {
  const double shown = as_percent ? value * 100 : value;
  const double shown_step = as_percent ? step * 100 : step;
  if (std::abs(shown) >= 1e7 || shown_step < 1e-6) {
    const std::string label = value == 0 ? "0" : fmt::format("{:.6g}", shown);
    return as_percent ? label + " %" : label;
  }
  int decimals = 0;
  // 0.25 needs two digits though its magnitude asks for one.
  while (decimals < 7 && std::abs(shown_step * std::pow(10, decimals) -
                                  std::round(shown_step * std::pow(10, decimals))) > 1e-6) {
    ++decimals;
  }
  std::string label =
      decimals == 0 ? group_digits(std::llround(shown)) : fmt::format("{:.{}f}", shown, decimals);
  if (as_percent) label += " %";
  return label;
}

double round_step(double range, int target) {
  const double rough = range / target;
  const double magnitude = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * magnitude >= rough * (1 - 1e-9)) return factor * magnitude;
  }
  return 10 * magnitude;
}

std::vector<Tick> linear_ticks(double min, double max, int target, bool as_percent) {
  std::vector<Tick> ticks;
  const double step = round_step(max - min, target);
  const double first = std::ceil(min / step - 1e-9);
  for (int i = 0; i <= 2 * target + 4; ++i) {
    double value = (first + i) * step;
    if (value > max + 1e-9 * step) break;
    if (std::abs(value) < 1e-9 * step) value = 0;  // "-0"
    ticks.push_back({value, tick_label(value, step, as_percent)});
  }
  return ticks;
}

std::vector<double> log_values(double min, double max, std::initializer_list<double> factors,
                               int decade_step) {
  std::vector<double> values;
  const int first = static_cast<int>(std::floor(std::log10(min)));
  const int last = static_cast<int>(std::ceil(std::log10(max)));
  for (int decade = first; decade <= last; ++decade) {
    if (decade % decade_step != 0) continue;
    for (const double factor : factors) {
      const double value = factor * std::pow(10, decade);
      if (value >= min * (1 - 1e-9) && value <= max * (1 + 1e-9)) values.push_back(value);
    }
  }
  return values;
}

std::vector<Tick> log_ticks(double min, double max, int target, bool as_percent) {
  const auto limit = static_cast<std::size_t>(target) + 2;
  std::vector<double> values = log_values(min, max, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 1);
  // Less than a third of a decade: round numbers of a linear axis serve better.
  if (values.size() < 3) return linear_ticks(min, max, target, as_percent);
  if (values.size() > limit) values = log_values(min, max, {1, 2, 5}, 1);
  if (values.size() > limit) values = log_values(min, max, {1, 3}, 1);
  for (int step = 1; values.size() > limit; ++step) values = log_values(min, max, {1}, step);
  std::vector<Tick> ticks;
  for (const double value : values) {
    ticks.push_back({value, tick_label(value, std::min(1.0, value), as_percent)});
  }
  return ticks;
}

}  // namespace

AxisScale::AxisScale(Scale scale, double min, double max, double pixel_min, double pixel_max)
    : scale_(scale), pixel_min_(pixel_min), pixel_max_(pixel_max) {
  const double floor = scale == Scale::kLog ? kSmallestLog : -kLargest;
  min_ = std::isfinite(min) ? std::clamp(min, floor, kLargest) : std::max(floor, 0.0);
  max_ = std::isfinite(max) ? std::clamp(max, floor, kLargest) : 1.0;
  if (max_ < min_) std::swap(min_, max_);
  // The ends are so close that doubles can hardly tell them apart.
  const double margin = std::max(std::abs(min_), std::abs(max_)) * 1e-6;
  if (max_ - min_ <= margin) {
    if (scale == Scale::kLog) {
      min_ = std::max(min_ / 2, kSmallestLog);
      max_ *= 2;
    } else {
      const double half = min_ == 0 ? 0.5 : std::abs(min_) * 0.1;
      min_ -= half;
      max_ += half;
    }
  }
}

double AxisScale::transform(double value) const {
  return scale_ == Scale::kLog ? std::log10(value) : value;
}

double AxisScale::map(double value) const {
  const double inside = std::isnan(value) ? min_ : std::clamp(value, min_, max_);
  const double frac = (transform(inside) - transform(min_)) / (transform(max_) - transform(min_));
  return pixel_min_ + frac * (pixel_max_ - pixel_min_);
}

std::vector<Tick> AxisScale::ticks(int target, bool as_percent) const {
  return scale_ == Scale::kLog ? log_ticks(min_, max_, target, as_percent)
                               : linear_ticks(min_, max_, target, as_percent);
}

}  // namespace lowbank::report
