#include "tools/run/run_options.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include <fmt/format.h>

#include "config/command_line.h"
#include "config/words.h"
#include "core/error.h"
#include "core/resources.h"

namespace lowbank {
namespace {

std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("_-./=,:@%+", c);
  });
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string run_help(const Fields& fields) {
  return R"(Run the stages of a recipe in order; skip what is done, go on with what was interrupted.

usage: lowbank run RECIPE.json [options]

options:
  --set STAGE.KEY=VALUE  change a key of one stage; *.KEY=VALUE: of every stage that has it
)" + option_lines(fields, /*width=*/22) +
         R"(  --help, --version

A stage is skipped when its settings and the content of its inputs are what they were. All of the
recipe is checked before the first stage starts. docs/run.md says how a recipe is written.

example:
  lowbank run configs/recipes/demo.json --set finetune.train.steps=100)";
}

}  // namespace

const std::vector<std::string>& run_common_keys() {
  static const std::vector<std::string> keys = {"seed", "threads", "device", "dtype"};
  return keys;
}

Fields RunOptions::fields() const {
  // The stages check and store the common keys; here `common` only holds their text.
  static std::string unset;
  return {
      Field("out", &out, "folder of all results [default runs/<recipe name>]").shown_as("DIR"),
      Field("seed", &unset, "seed of every random draw [in place of the recipe's]").shown_as("N"),
      Field("threads", &unset, "processor threads; 0 = all cores").shown_as("N"),
      Field("device", &unset, "cpu, cuda or cuda:i").shown_as("NAME"),
      Field("dtype", &unset, "f32, bf16 or f16").shown_as("NAME"),
      Field("quiet", &quiet, "no progress"),
      Field("json", &json,
            "last line of standard output: {\"stages\": [{\"id\", \"skipped\", \"seconds\"}],\n"
            "                         \"report\": path}")};
}

std::optional<RunOptions> parse_run_options(std::span<const std::string> arguments) {
  RunOptions options;
  options.command = "lowbank run";
  for (const auto& word : arguments) options.command += " " + shell_word(word);
  const Fields fields = options.fields();
  const auto said = parse_words(arguments, {.command = "run",
                                            .fields = fields,
                                            .assignment = "<stage>.<key>=value",
                                            .help = [&] { return run_help(fields); }});
  if (!said) return std::nullopt;
  if (said->words.empty()) {
    throw ConfigError("recipe is missing: lowbank run RECIPE.json (see lowbank run --help)");
  }
  if (said->words.size() > 1) {
    throw ConfigError(
        fmt::format("unexpected argument '{}': one recipe at a time", said->words[1]));
  }
  options.recipe = find_input(said->words.front());
  for (const auto& [key, text, is_set] : said->settings) {
    if (is_set) {
      options.settings.emplace_back(key, text);
    } else if (std::find(run_common_keys().begin(), run_common_keys().end(), key) !=
               run_common_keys().end()) {
      options.common.emplace_back(key, text);
    } else {
      apply_text(options, key, text);
    }
  }
  while (options.out.size() > 1 && options.out.back() == '/') options.out.pop_back();
  return options;
}

}  // namespace lowbank
