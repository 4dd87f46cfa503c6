#pragma once

#include <string>

#include "tools/run/run_options.h"

namespace lowbank {

/// Runs the stages that are not done, each as a process `lowbank-<stage>` from `command_folder`,
/// and returns the exit code of the run.
/// Errors: IoError for a missing executable; Interrupted.
int run_recipe(const RunOptions& options, const std::string& command_folder);

}  // namespace lowbank
