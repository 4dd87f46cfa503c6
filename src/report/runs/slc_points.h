#pragma once

#include <string>
#include <vector>

#include "report/runs/report_data.h"

namespace lowbank::report {

/// One of several estimates that differ in the share of SLC cells alone, one of which has nothing
/// but SLC: they are shown together, over the share.
bool is_slc_point(const ReportData& data, const EstimateRun& run);

/// A row of such an estimate against the dense model in SLC cells on the same machine; each is
/// above 1 where the row is better.
struct SlcGain {
  const EstimateRun* run = nullptr;
  const CostRow* row = nullptr;
  double throughput = kNotReported;           ///< of a full pipeline
  double throughput_per_area = kNotReported;  ///< the same, per mm2 of chips
  double energy = kNotReported;               ///< per token
};

/// Of all estimates that is_slc_point says yes to, in their order.
std::vector<SlcGain> slc_gains(const ReportData& data);

/// The largest gains of each mode, and those that HyFlexPIM's publication states.
std::vector<std::string> slc_sentences(const ReportData& data);

}  // namespace lowbank::report
