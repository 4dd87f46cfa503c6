#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "config/run_dir.h"
#include "config/stage_config.h"

namespace lowbank {

using Metrics = nlohmann::ordered_json;

/// The work of a stage: it reads and checks its inputs, calls `out->begin()`, computes, and fills
/// the metrics (for metrics.json and --json). `out` is nullptr for commands without a run folder.
template <class Config>
using StageBody = void (*)(const Config& config, RunDir* out, Metrics& metrics);

/// The only place that catches exceptions. Parses the command line, prepares log, signals and run
/// folder, calls the body, prints one line for a failure, and returns an exit code of core/error.h.
int run_stage_erased(int argc, char** argv, StageConfig& config,
                     const std::function<void(RunDir*, Metrics&)>& body);

/// Calls `body` and turns an exception, or a result that could not be printed, into one line on
/// standard error and an exit code. `name` is that of the command ("" for the front command itself);
/// `memory_keys` returns the keys that may help when memory runs out.
int guarded_main(const std::string& name, const std::function<int()>& body,
                 const std::function<std::vector<std::string>()>& memory_keys = {});

template <class Config>
int run_stage(int argc, char** argv, StageBody<Config> body) {
  Config config;
  return run_stage_erased(argc, argv, config,
                          [&](RunDir* out, Metrics& metrics) { body(config, out, metrics); });
}

}  // namespace lowbank
