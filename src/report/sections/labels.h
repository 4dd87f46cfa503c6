#pragma once

#include <string>

#include "report/runs/report_data.h"

namespace lowbank::report {

/// "abs_grad" -> "gradient", for legends and sentences.
std::string importance_label(const std::string& importance);

/// "twos_complement" -> "two's complement".
std::string encoding_label(const std::string& encoding);

/// "ratio:0.5" -> "0.5 x break-even rank".
std::string rank_policy_label(const std::string& policy);

/// How the model of a run differs from the dense one: the rank policy of the compress run that made
/// it (or that run's name if two runs share a policy), or "dense".
std::string model_label(const ReportData& data, const RunInfo& run);

/// model_label of the run that wrote the workload, if that run is part of the report. Else a label
/// from the estimate itself: "dense", "49 % of dense size", or the name.
std::string workload_label(const ReportData& data, const EstimateRun& run,
                           const std::string& workload);

}  // namespace lowbank::report
