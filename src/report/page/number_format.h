#pragma once

#include <string>

#include "config/results/count.h"

namespace lowbank::report {

/// "1,235", "12.3", "0.0123", "1.2e-7", "n/a" for what is not finite.
std::string format_number(double value, int significant_digits = 4);

/// 0.123 -> "12.3 %".
std::string format_percent(double frac, int significant_digits = 3);

/// A share that somebody chose, so that it has few digits: 0.05 -> "5 %", 0.125 -> "12.5 %".
std::string format_share(double frac);

/// 0.52 -> "0.52x", 192.3 -> "192x".
std::string format_ratio(double ratio);

/// A whole number, "1,234,567".
std::string format_count(double value);

/// 1.5e6 (ns) -> "1.5 ms".
std::string format_latency(double latency_ns, int significant_digits = 3);

/// 1.5e6 (pJ) -> "1.5 uJ".
std::string format_energy(double energy_pj, int significant_digits = 3);

/// The shortest text that reads back as the same number; "" for what is not finite (CSV).
std::string format_exact(double value);

}  // namespace lowbank::report
