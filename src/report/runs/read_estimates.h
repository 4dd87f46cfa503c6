#pragma once

#include "core/json_reader.h"
#include "report/runs/report_data.h"

namespace lowbank::report {

/// Adds a finished run of `estimate` over workloads to `data`, from its estimate.json.
/// Errors: IoError for a file or key that is missing or not as it should be.
void read_estimate(const RunInfo& info, ReportData& data);

/// Likewise one over experiments, from its experiments.jsonl; `resolved` are the run's settings.
void read_experiments(const RunInfo& info, const JsonReader& resolved, ReportData& data);

}  // namespace lowbank::report
