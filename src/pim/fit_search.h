#pragma once

#include <functional>
#include <vector>

#include "pim/gpu.h"

namespace lowbank::pim {

using Vector = std::vector<double>;

/// A small minimum of f, searched from x; the variables are logarithms of positive constants.
///
/// Source:  the simplex method of Nelder and Mead (1965), begun again five times.
Vector minimise(const std::function<double(const Vector&)>& f, Vector x);

/// Median and 90th percentile.
GpuTimeError time_error(const Vector& errors);

/// Rounded to four digits: what a preset states of a fitted constant.
double four_digits(double value);

}  // namespace lowbank::pim
