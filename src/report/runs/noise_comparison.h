#pragma once

#include <cstdint>
#include <string>

#include "report/runs/report_data.h"

namespace lowbank::report {

/// Whether one mean perplexity is lower than another beyond the error of both.
enum class Verdict { kBetter, kNoDifference, kWorse };

/// kNoDifference when the 95 % intervals overlap, an end is missing, or the better one had trials
/// that diverged.
Verdict compare_points(const NoisePoint& a, const NoisePoint& b);

const NoiseCurve* find_curve(const NoisyRun& run, const std::string& importance);
const NoisePoint* find_point(const NoiseCurve& curve, double slc_frac);

/// The first selection that looks at the model: neither rank order nor random. nullptr if none.
const NoiseCurve* learned_curve(const NoisyRun& run);

/// What is shown when one curve stands for the run: the learned one, else the first; nullptr if
/// none.
const NoiseCurve* headline_curve(const NoisyRun& run);

/// One curve against another over the SLC shares strictly between 0 and 1 that both have.
struct CurveComparison {
  std::int64_t num_better = 0;
  std::int64_t num_equal = 0;
  std::int64_t num_worse = 0;

  std::int64_t num_points() const { return num_better + num_equal + num_worse; }
  /// "better at 3, no significant difference at 2 of 5 points".
  std::string text() const;
};
CurveComparison compare_curves(const NoiseCurve& a, const NoiseCurve& b);

/// "12.3 [12.1, 12.5]".
std::string interval_text(const NoisePoint& point);

}  // namespace lowbank::report
