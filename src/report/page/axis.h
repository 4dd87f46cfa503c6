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
/// An empty range is widened, and a range is cut if a logarithm or the difference of its ends would
/// not be finite. All later numbers are therefore finite.
class AxisScale {
 public:
  AxisScale(Scale scale, double min, double max, double pixel_min, double pixel_max);

  /// The pixel of a value, strictly monotonic between the ends; values beyond an end get the end's
  /// pixel.
  double map(double value) const;
  double min() const { return min_; }
  double max() const { return max_; }

  /// At most about `target + 2` round numbers within the range, in rising order. With `as_percent`
  /// the labels are in per cent.
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
