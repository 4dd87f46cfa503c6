#pragma once

#include <span>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

enum class ParseOutcome { kRun, kHelpShown };

/// Fills `config` from defaults, a recipe file, flags and --set, in that order of precedence
/// (a later word wins among flags and --set). Prints --help or --version itself.
/// Errors: ConfigError; IoError for a recipe that cannot be read.
ParseOutcome parse_command_line(std::span<const std::string> arguments, StageConfig& config);

/// What can only be checked once every value is set: required keys, the device's form, and the
/// stage's own validate(). Errors: ConfigError.
void check_settings(const StageConfig& config);

/// The text of --help.
std::string help_text(const StageConfig& config);

/// The lines of --help that tell each field's flag, meaning, default and range; a flag and its
/// value take `width` columns.
std::string option_lines(const Fields& fields, int width);

}  // namespace lowbank
