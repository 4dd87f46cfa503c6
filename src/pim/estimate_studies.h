#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/results/estimate_result.h"
#include "pim/estimator.h"

namespace lowbank::pim {

struct NamedWorkload {
  std::string name;  ///< unique among those of this run
  std::string file;
  Workload workload;
};

struct NamedSystem {
  std::string name;
  std::unique_ptr<System> system;
};

using Crossovers = std::vector<EstimateResult::Crossover>;
using Sensitivities = std::vector<EstimateResult::Sensitivity>;

/// What `estimate` tells beyond costs at single sizes (docs/estimate.md lists the keys).
/// Errors: those of pim/break_even.h and pim/sensitivity.h.
Crossovers find_crossovers(const std::vector<NamedWorkload>& workloads,
                           const std::vector<NamedSystem>& systems);
Crossovers find_break_even(const std::vector<NamedWorkload>& workloads,
                           const std::vector<NamedSystem>& systems);
Sensitivities find_sensitivity(const std::vector<NamedWorkload>& workloads,
                               const std::vector<NamedSystem>& systems,
                               const SystemOptions& options, std::int64_t output_tokens,
                               double part);

/// The same as lines on the terminal.
void print_crossovers(const Crossovers& entries);
void print_break_even(const Crossovers& entries);
void print_sensitivity(const Sensitivities& entries, double part);

}  // namespace lowbank::pim
