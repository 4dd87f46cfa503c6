#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// The flags of a command: one for every field, --help, -h, --version and perhaps --set.
struct CommandSyntax {
  std::string command = {};     ///< "inspect"; empty: the front command
  const Fields& fields;         ///< `max_new_tokens` is the flag --max-new-tokens
  std::string assignment = {};  ///< form of the value of --set, "key=value"; empty: no --set
  std::function<std::string()> help;
};

/// The words of a command line, sorted into settings and other words, but not yet stored.
struct CommandWords {
  struct Setting {
    std::string key;
    std::string text;  ///< as apply_text takes it
    bool is_set;       ///< given with --set, not with a flag of its own
  };
  std::vector<Setting> settings;   ///< in the order typed: a later one wins
  std::vector<std::string> words;  ///< words without a flag
};

/// Separates flags from words. Every command line goes through this one parser.
///
/// `--flag value` and `--flag=value` mean the same. A switch takes no value, or `=false`. The flag
/// of a field that takes many values takes every word up to the next flag. A value may be a
/// negative number. Everything after `--` is a word. Prints --help or --version itself and then
/// returns nothing.
/// Errors: ConfigError for an unknown flag, with a suggestion (a flag must be written out in full),
/// and for a flag without its value.
std::optional<CommandWords> parse_words(std::span<const std::string> arguments,
                                        const CommandSyntax& syntax);

/// The flag of a key: `max_new_tokens` -> --max-new-tokens.
std::string flag_name(std::string key);

/// Joins the words of a list into one text for apply_text.
std::string join_words(const Field& field, std::span<const std::string> words);

}  // namespace lowbank
