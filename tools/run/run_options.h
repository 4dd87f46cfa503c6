#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// The words of `lowbank run`.
struct RunOptions : Settings {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  std::string recipe;
  Pairs common;     ///< seed, threads, device, dtype: in place of the recipe's own
  Pairs settings;   ///< --set: "<stage id>.<key>" or "*.<key>", and the value
  std::string out;  ///< folder of all stages; "" = runs/<recipe name>
  bool quiet = false;
  bool json = false;
  std::string command;  ///< as it was typed, for "go on with ..."
  Fields fields() const override;
};

/// The keys that a recipe's head and the words of `run` may set for all stages.
const std::vector<std::string>& run_common_keys();

/// Parses the words after `lowbank run`. Prints the help or the version if asked for, and then
/// returns nothing. Errors: ConfigError.
std::optional<RunOptions> parse_run_options(std::span<const std::string> arguments);

}  // namespace lowbank
