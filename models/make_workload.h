#pragma once

#include "config/stages/workload_config.h"
#include "pim/workload.h"

namespace lowbank {

struct LoadedModel;

/// The operators of a model, for the estimator. Errors: ConfigError for a batch and context whose
/// products do not fit in 63 bits.
pim::Workload make_workload(const LoadedModel& loaded, const WorkloadConfig& config);

}  // namespace lowbank
