#include "pim/crossing.h"

#include <algorithm>
#include <cmath>

namespace lowbank::pim {
namespace {

constexpr double kSamplesPerDoubling = 4;

}  // namespace

SignCourse sign_course(const std::function<double(std::int64_t)>& f, std::int64_t low,
                       std::int64_t high) {
  const auto is_positive = [&](std::int64_t at) { return f(at) > 0; };
  SignCourse course;
  std::int64_t at = low;
  bool sign = is_positive(at);
  course.starts_positive = sign;
  while (at < high) {
    const double factor = std::exp2(1 / kSamplesPerDoubling);
    const auto step = static_cast<std::int64_t>(static_cast<double>(at) * factor);
    std::int64_t above = std::min(std::max(step, at + 1), high);
    const std::int64_t next = above;
    const bool next_sign = is_positive(next);
    if (next_sign != sign) {
      std::int64_t below = at;
      while (above - below > 1) {
        const std::int64_t middle = below + (above - below) / 2;
        (is_positive(middle) == sign ? below : above) = middle;
      }
      course.crossings.push_back({.at = above, .is_positive = next_sign});
    }
    at = next;
    sign = next_sign;
  }
  return course;
}

}  // namespace lowbank::pim
