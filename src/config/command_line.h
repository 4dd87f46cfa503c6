#pragma once

#include <span>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

enum class ParseOutcome { kRun, kHelpShown };

/// Fills `config` from a recipe file and from flags and --set, which override the recipe (the last
/// word wins among them). Keys that neither names keep their defaults. Prints the text of --help or
/// --version itself.
/// Errors: ConfigError; IoError for a recipe that cannot be read.
ParseOutcome parse_command_line(std::span<const std::string> arguments, StageConfig& config);

/// Checks what can only be checked when every value is set: required keys, the form of `device`,
/// and the stage's own validate(). Errors: ConfigError.
void check_settings(const StageConfig& config);

/// The message of a ConfigError that begins with a key, with the recipe's file before it if the value
/// comes from there.
std::string name_recipe(const StageConfig& config, const std::string& message);

/// The text of --help.
std::string help_text(const StageConfig& config);

/// The lines of --help: each field's flag, meaning, default and range. A flag and its value take
/// `width` columns.
std::string option_lines(const Fields& fields, int width);

}  // namespace lowbank
