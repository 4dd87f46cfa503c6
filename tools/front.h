#pragma once

#include <span>
#include <string>

namespace lowbank {

/// The `lowbank` command. It handles `run` and the help itself; for any other command the process
/// becomes `lowbank-<command>` with the same arguments. Returns the exit code.
/// Errors: ConfigError for an unknown command; IoError for one that was not built.
int front_main(std::span<const std::string> arguments);

}  // namespace lowbank
