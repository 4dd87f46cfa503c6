#include "config/words.h"

#include <algorithm>
#include <cctype>

// cxxopts's regular expressions recurse for every letter of a word, so that a long prompt overflows
// the stack, and they stop at a line break.
#define CXXOPTS_NO_REGEX true
#include <cxxopts.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/error.h"
#include "core/log.h"
#include "core/suggest.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using Strings = std::vector<std::string>;

// The name under which cxxopts collects words without a flag. Because of its dot it cannot be
// typed.
constexpr const char* kWords = "plain.words";

// "-" alone is a file name (standard input).
bool is_flag(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

bool is_negative_number(const std::string& word) {
  return is_flag(word) &&
         (std::isdigit(static_cast<unsigned char>(word[1])) != 0 || word[1] == '.');
}

struct Flag {
  std::string name;              // "--max-new-tokens"
  const Field* field = nullptr;  // of --set, --help and --version: none
  bool takes_value = true;

  bool takes_many() const { return field != nullptr && field->takes_many; }
};

// The flags in the order in which they are suggested.
std::vector<Flag> list_flags(const CommandSyntax& syntax) {
  std::vector<Flag> flags;
  if (!syntax.assignment.empty()) flags.push_back({"--set"});
  flags.push_back({.name = "--help", .takes_value = false});
  flags.push_back({.name = "--version", .takes_value = false});
  for (const auto& field : syntax.fields) {
    flags.push_back({flag_name(field.name), &field, !field.is_switch()});
  }
  return flags;
}

const Flag* find_flag(const std::vector<Flag>& flags, const std::string& word) {
  const std::string name = word == "-h" ? "--help" : word.substr(0, word.find('='));
  const auto found = std::find_if(flags.begin(), flags.end(), [&](const Flag& flag) {
    return flag.name == name || (flag.field != nullptr && "--" + flag.field->name == name);
  });
  return found == flags.end() ? nullptr : &*found;
}

[[noreturn]] void reject_flag(const std::string& word, const std::vector<Flag>& flags,
                              const CommandSyntax& syntax) {
  const std::string name = word.substr(0, word.find('='));
  Strings known;
  for (const auto& flag : flags) known.push_back(flag.name);
  throw ConfigError(fmt::format("unknown option '{}'{} (see lowbank {}--help)", name,
                                did_you_mean(name, known),
                                syntax.command.empty() ? "" : syntax.command + " "));
}

// Does what cxxopts cannot: joins the words of a flag that takes many, and suggests known flags.
Strings prepare(std::span<const std::string> words, const std::vector<Flag>& flags,
                const CommandSyntax& syntax) {
  Strings out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    out.push_back(word);
    if (!is_flag(word)) continue;
    const Flag* const flag = find_flag(flags, word);
    if (flag == nullptr) reject_flag(word, flags, syntax);
    if (!flag->takes_value || word.find('=') != std::string::npos) continue;
    auto end = i + 1;
    if (flag->takes_many()) {
      while (end < words.size() && (!is_flag(words[end]) || is_negative_number(words[end]))) ++end;
    } else if (end < words.size() && find_flag(flags, words[end]) == nullptr) {
      ++end;
    }
    const auto values = words.subspan(i + 1, end - i - 1);
    if (values.empty()) {
      throw ConfigError(word +
                        (flag->takes_many() ? " wants at least one value" : " wants a value"));
    }
    out.push_back(flag->takes_many() ? join_words(*flag->field, values) : values.front());
    i = end - 1;
  }
  return out;
}

cxxopts::ParseResult read_flags(const Strings& words, const std::vector<Flag>& flags) {
  cxxopts::Options options("lowbank");
  for (const auto& flag : flags) {
    const std::string name = flag.name.substr(2);
    const Strings names = flag.field == nullptr || flag.field->name == name
                              ? Strings{name}
                              : Strings{flag.field->name, name};
    auto value = cxxopts::value<std::string>();
    if (!flag.takes_value) value->implicit_value("true");
    options.add_option("", name == "help" ? "h" : "", names, "", value, "");
  }
  options.add_options()(kWords, "", cxxopts::value<Strings>());
  options.parse_positional(kWords);
  std::vector<const char*> argv = {"lowbank"};
  for (const auto& word : words) argv.push_back(word.c_str());
  return options.parse(static_cast<int>(argv.size()), argv.data());
}

CommandWords::Setting read_assignment(const std::string& text, const CommandSyntax& syntax) {
  const auto at = text.find('=');
  if (at == std::string::npos) {
    throw ConfigError(fmt::format("--set wants {}; got '{}'", syntax.assignment, text));
  }
  return {text.substr(0, at), text.substr(at + 1), /*is_set=*/true};
}

}  // namespace

std::string flag_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

std::string join_words(const Field& field, std::span<const std::string> words) {
  // A single name may itself be a list, "a,b"; a path may hold commas.
  if (words.size() == 1 && field.path == Field::Path::kNone) return words.front();
  if (std::holds_alternative<const std::vector<double>*>(field.target)) {
    return fmt::format("{}", fmt::join(words, ","));
  }
  return Json(Strings(words.begin(), words.end()))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<CommandWords> parse_words(std::span<const std::string> arguments,
                                        const CommandSyntax& syntax) {
  const auto flags = list_flags(syntax);
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  const auto result = read_flags(prepare({arguments.begin(), end}, flags, syntax), flags);
  if (result.count("help") > 0) {
    print_text(syntax.help() + "\n");
    return std::nullopt;
  }
  if (result.count("version") > 0) {
    print("lowbank {}", version());
    return std::nullopt;
  }
  CommandWords said;
  for (const auto& argument : result.arguments()) {
    if (argument.key() == kWords) {
      said.words.push_back(argument.value());
    } else if (argument.key() == "set") {
      said.settings.push_back(read_assignment(argument.value(), syntax));
    } else {
      said.settings.push_back({argument.key(), argument.value(), /*is_set=*/false});
    }
  }
  if (end != arguments.end()) said.words.insert(said.words.end(), end + 1, arguments.end());
  return said;
}

}  // namespace lowbank
