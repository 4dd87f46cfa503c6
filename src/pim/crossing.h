#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace lowbank::pim {

/// The sign of a function over the whole numbers of a range.
struct Crossing {
  std::int64_t at = 0;       ///< the first number with the new sign
  bool is_positive = false;  ///< what the sign is from there on
};
struct SignCourse {
  bool starts_positive = false;
  std::vector<Crossing> crossings;  ///< ascending

  bool never() const { return !starts_positive && crossings.empty(); }
  bool always() const { return starts_positive && crossings.empty(); }
};

/// Samples f at low, high and numbers a factor of 2^(1/4) apart between them, and bisects each
/// change of sign to the very number. Changes that come in pairs between two samples are missed.
/// f is asked once for each number; 0 counts as not positive.
SignCourse sign_course(const std::function<double(std::int64_t)>& f, std::int64_t low,
                       std::int64_t high);

}  // namespace lowbank::pim
