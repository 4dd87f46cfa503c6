#pragma once

#include <cstdint>

namespace lowbank {

namespace pim {
struct Workload;
}

struct LoadedModel;

enum class WorkloadPhases { kPrefill, kDecode, kBoth };

struct WorkloadOptions {
  std::int64_t batch = 1;      ///< sequences at a time; >= 1
  std::int64_t context = 512;  ///< tokens of the prompt, and context of a decode step; >= 1
  WorkloadPhases phases = WorkloadPhases::kBoth;
};

/// The operators of a model, for the estimator. Errors: ConfigError for a batch and context whose
/// products do not fit in 63 bits, and for the decode phase of an encoder.
pim::Workload make_workload(const LoadedModel& loaded, const WorkloadOptions& options);

}  // namespace lowbank
