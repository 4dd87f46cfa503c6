#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

namespace lowbank {

/// The value of a number that a run did not report.
inline constexpr double kNotReported = std::numeric_limits<double>::quiet_NaN();

/// A whole number of things, or none that is reported. It is written exactly, and it is a double
/// (kNotReported if there is none) to whoever reads it.
class Count {
 public:
  Count() = default;
  // Neither conversion is explicit: results are filled from integers and read as numbers.
  template <std::integral Integer>
  Count(Integer value) : value_(static_cast<std::int64_t>(value)) {}  // NOLINT
  operator double() const {                                           // NOLINT
    return value_ ? static_cast<double>(*value_) : kNotReported;
  }

  const std::optional<std::int64_t>& value() const { return value_; }

 private:
  std::optional<std::int64_t> value_;
};

}  // namespace lowbank
