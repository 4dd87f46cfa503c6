#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

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

/// What `estimate` tells beyond costs at single sizes, as arrays for estimate.json
/// (docs/estimate.md lists the keys). Errors: those of pim/break_even.h and pim/sensitivity.h.
nlohmann::ordered_json crossovers_json(const std::vector<NamedWorkload>& workloads,
                                       const std::vector<NamedSystem>& systems);
nlohmann::ordered_json break_even_json(const std::vector<NamedWorkload>& workloads,
                                       const std::vector<NamedSystem>& systems);
nlohmann::ordered_json sensitivity_json(const std::vector<NamedWorkload>& workloads,
                                        const std::vector<NamedSystem>& systems,
                                        const SystemOptions& options, std::int64_t output_tokens,
                                        double part);

/// The same as lines on the terminal.
void print_crossovers(const nlohmann::ordered_json& entries);
void print_break_even(const nlohmann::ordered_json& entries);
void print_sensitivity(const nlohmann::ordered_json& entries, double part);

}  // namespace lowbank::pim
