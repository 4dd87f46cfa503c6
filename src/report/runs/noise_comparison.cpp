#include "report/runs/noise_comparison.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace lowbank::report {

Verdict compare_points(const NoisePoint& a, const NoisePoint& b) {
  // A mean without its diverged trials is too good to win by.
  if (a.ci95_high < b.ci95_low && !(a.num_diverged > 0)) return Verdict::kBetter;
  if (b.ci95_high < a.ci95_low && !(b.num_diverged > 0)) return Verdict::kWorse;
  return Verdict::kNoDifference;
}

const NoiseCurve* find_curve(const NoisyRun& run, const std::string& importance) {
  const auto found =
      std::find_if(run.curves.begin(), run.curves.end(),
                   [&](const NoiseCurve& curve) { return curve.importance == importance; });
  return found == run.curves.end() ? nullptr : &*found;
}

const NoisePoint* find_point(const NoiseCurve& curve, double slc_frac) {
  const auto found = std::find_if(
      curve.points.begin(), curve.points.end(),
      [&](const NoisePoint& point) { return std::abs(point.slc_frac - slc_frac) < 1e-9; });
  return found == curve.points.end() ? nullptr : &*found;
}

const NoiseCurve* learned_curve(const NoisyRun& run) {
  for (const NoiseCurve& curve : run.curves) {
    if (curve.importance != "rank_order" && curve.importance != "random") return &curve;
  }
  return nullptr;
}

const NoiseCurve* headline_curve(const NoisyRun& run) {
  const NoiseCurve* const learned = learned_curve(run);
  return learned != nullptr || run.curves.empty() ? learned : &run.curves.front();
}

CurveComparison compare_curves(const NoiseCurve& a, const NoiseCurve& b) {
  CurveComparison out;
  for (const NoisePoint& point : a.points) {
    const NoisePoint* const other = find_point(b, point.slc_frac);
    // At 0 and 1 all selections protect the same ranks.
    if (other == nullptr || point.slc_frac <= 0 || point.slc_frac >= 1) continue;
    switch (compare_points(point, *other)) {
      case Verdict::kBetter:
        ++out.num_better;
        break;
      case Verdict::kNoDifference:
        ++out.num_equal;
        break;
      case Verdict::kWorse:
        ++out.num_worse;
        break;
    }
  }
  return out;
}

std::string CurveComparison::text() const {
  if (num_points() == 0) return "not comparable";
  if (num_equal == num_points())
    return fmt::format("no significant difference at any of {} points", num_points());
  std::vector<std::string> parts;
  if (num_better > 0) parts.push_back(fmt::format("better at {}", num_better));
  if (num_worse > 0) parts.push_back(fmt::format("worse at {}", num_worse));
  if (num_equal > 0) parts.push_back(fmt::format("no significant difference at {}", num_equal));
  return fmt::format("{} of {} points", fmt::join(parts, ", "), num_points());
}

std::string interval_text(const NoisePoint& point) {
  if (!std::isfinite(point.ci95_low) || !std::isfinite(point.ci95_high)) {
    return format_number(point.mean);
  }
  return fmt::format("{} [{}, {}]", format_number(point.mean), format_number(point.ci95_low),
                     format_number(point.ci95_high));
}

}  // namespace lowbank::report
