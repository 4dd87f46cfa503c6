#pragma once

#include "config/run_stage.h"
#include "config/stages/report_config.h"

namespace lowbank {

/// Writes tables, figures and the page of `lowbank report`.
///
/// Metrics: page, num_runs, summary (lines), figures, tables (file names), headlines (values with
/// their provenance).
/// Errors: IoError for a folder that is not a finished run.
void report_stage(const ReportConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
