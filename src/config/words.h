#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// What a command understands: its name, a flag for every field, and --help, -h, --version.
struct CommandSyntax {
  std::string command = {};     ///< "inspect"; empty: the front command
  const Fields& fields;         ///< `max_new_tokens` is the flag --max-new-tokens
  std::string assignment = {};  ///< what --set wants, "key=value"; empty: there is no --set
  std::function<std::string()> help;
};

/// The words of a command line, told apart but not yet stored.
struct CommandWords {
  struct Setting {
    std::string key;
    std::string text;  ///< as apply_text takes it
    bool is_set;       ///< given with --set, not with a flag of its own
  };
  std::vector<Setting> settings;   ///< in the order typed: a later one wins
  std::vector<std::string> words;  ///< without a flag
};

/// Tells flags from words: the one parser of every command line.
///
/// `--flag value` and `--flag=value` say the same; a switch takes no value, or `=false`; a flag of
/// a field that takes many takes every word up to the next flag; a value may be a negative number;
/// all that follows `--` are words. Prints --help or --version itself and then returns nothing.
/// Errors: ConfigError for an unknown flag, with a suggestion (a flag must be written out in full),
/// and for a flag without its value.
std::optional<CommandWords> parse_words(std::span<const std::string> arguments,
                                        const CommandSyntax& syntax);

/// The flag of a key.
std::string flag_name(std::string key);

/// The words of a list as one text for apply_text.
std::string join_words(const Field& field, std::span<const std::string> words);

}  // namespace lowbank
