#pragma once

#include <functional>

#include <nlohmann/json_fwd.hpp>

#include "config/run_dir.h"
#include "config/stage_config.h"

namespace lowbank {

using Metrics = nlohmann::ordered_json;

/// A stage's work: reads and checks its inputs, calls `out->begin()`, works, and fills the metrics
/// (metrics.json and --json). Commands without a run folder get a null `out`.
template <class Config>
using StageBody = void (*)(const Config& config, RunDir* out, Metrics& metrics);

/// The only place that catches: parses the command line, prepares log, signals and run folder,
/// calls the body, prints one line per failure, and returns the exit code of core/error.h.
int run_stage_erased(int argc, char** argv, StageConfig& config,
                     const std::function<void(RunDir*, Metrics&)>& body);

/// Calls `body` and turns what it throws into one line on standard error and an exit code; `name`
/// is the command's ("" for the front command itself).
int guarded_main(const std::string& name, const std::function<int()>& body);

template <class Config>
int run_stage(int argc, char** argv, StageBody<Config> body) {
  Config config;
  return run_stage_erased(argc, argv, config,
                          [&](RunDir* out, Metrics& metrics) { body(config, out, metrics); });
}

}  // namespace lowbank
