#pragma once

#include <string>
#include <vector>

#include "report/runs/report_data.h"

namespace lowbank::report {

/// How many times less time or energy than the dense model on the same system and phase (> 1 is a
/// saving); kNotReported without a dense row.
struct CostGain {
  double speedup = kNotReported;
  double energy_gain = kNotReported;

  /// Neither is better by more than one per cent, as far as they are known.
  bool saves_nothing() const;
};
CostGain gain_against(const CostRow& row, const CostRow* dense);

/// Decoding, where the weights are read anew for every token; else the first phase there is.
std::string headline_phase(const EstimateRun& run);

/// A sentence for each system, what factoring saves there, and one for the cheapest of all.
std::vector<std::string> cost_sentences(const ReportData& data, const EstimateRun& run);

/// "1.9x faster", "1.2x slower", "as fast" (within one per cent).
std::string speedup_text(double speedup);
/// "1.9x less energy", "1.2x more energy", "as much energy".
std::string energy_gain_text(double gain);

}  // namespace lowbank::report
