#include "report/page/number_format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "core/text.h"

namespace lowbank::report {
namespace {

// The decimal exponent after rounding: 9.996 to three digits is 1.00e1.
int rounded_exponent(double magnitude, int significant_digits) {
  const std::string text = fmt::format("{:.{}e}", magnitude, significant_digits - 1);
  return std::stoi(text.substr(text.find('e') + 1));
}

std::string with_unit(double value, const std::array<const char*, 7>& units, int first_exponent,
                      int significant_digits) {
  if (!std::isfinite(value)) return "n/a";
  if (value == 0) return fmt::format("0 {}", units[static_cast<std::size_t>(first_exponent)]);
  const int exponent = rounded_exponent(std::abs(value), significant_digits);
  const int step = std::clamp(static_cast<int>(std::floor(exponent / 3.0)) + first_exponent, 0,
                              static_cast<int>(units.size()) - 1);
  const double scaled = value * std::pow(10.0, -3 * (step - first_exponent));
  return format_number(scaled, significant_digits) + " " + units[static_cast<std::size_t>(step)];
}

}  // namespace

std::string format_number(double value, int significant_digits) {
  if (!std::isfinite(value)) return "n/a";
  if (value == 0) return "0";
  const int exponent = rounded_exponent(std::abs(value), significant_digits);
  if (exponent < -3 || exponent >= 9) {
    std::string text = fmt::format("{:.{}e}", value, significant_digits - 1);
    const auto at = text.find('e');
    return text.substr(0, at) + "e" + std::to_string(std::stoi(text.substr(at + 1)));
  }
  if (exponent >= significant_digits - 1) return group_digits(std::llround(value));
  return fmt::format("{:.{}f}", value, significant_digits - 1 - exponent);
}

std::string format_percent(double frac, int significant_digits) {
  if (!std::isfinite(frac)) return "n/a";
  if (std::abs(frac) >= 0.9995 && std::abs(frac) <= 1.0005) return frac < 0 ? "-100 %" : "100 %";
  // Shares below a tenth of a per cent are noise to a reader.
  const double percent = frac * 100;
  if (std::abs(percent) < 0.05) return "0 %";
  if (std::abs(percent) < 1) return fmt::format("{:.1f} %", percent);
  return format_number(percent, significant_digits) + " %";
}

std::string format_share(double frac) {
  return std::isfinite(frac) ? fmt::format("{:.6g} %", frac * 100) : "n/a";
}

std::string format_ratio(double ratio) {
  if (ratio >= 0.1 && ratio < 10) return fmt::format("{:.2f}x", ratio);
  return format_number(ratio, 3) + "x";
}

std::string format_count(double value) {
  return std::abs(value) < 1e15 ? group_digits(std::llround(value)) : format_number(value);
}

std::string format_latency(double latency_ns, int significant_digits) {
  return with_unit(latency_ns, {"fs", "ps", "ns", "us", "ms", "s", "ks"}, 2, significant_digits);
}

std::string format_energy(double energy_pj, int significant_digits) {
  return with_unit(energy_pj, {"aJ", "fJ", "pJ", "nJ", "uJ", "mJ", "J"}, 2, significant_digits);
}

std::string format_exact(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : std::string();
}

}  // namespace lowbank::report
