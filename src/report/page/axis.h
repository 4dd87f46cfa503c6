#pragma once

#include <string>
#include <vector>

namespace lowbank::report {

enum class Scale { kLinear, kLog };

struct Tick {
  double value = 0;
  std::string label;
};

/// Maps data to pixels along one axis, and finds round numbers to label it with.
///
/// The range is widened where it is empty, and cut where a logarithm or the difference of its ends
/// would not be finite, so every later number is finite.
class AxisScale {
 public:
  AxisScale(Scale scale, double min, double max, double pixel_min, double pixel_max);

  /// Strictly increasing in `value` between the ends (in the direction of the pixels); values
  /// beyond an end give the end's pixel.
  double map(double value) const;
  double min() const { return min_; }
  double max() const { return max_; }

  /// At most about `target + 2` round numbers within the range, rising. Labels are per cent with
  /// `as_percent`.
  std::vector<Tick> ticks(int target, bool as_percent) const;

 private:
  double transform(double value) const;

  Scale scale_;
  double min_;
  double max_;
  double pixel_min_;
  double pixel_max_;
};

}  // namespace lowbank::report
