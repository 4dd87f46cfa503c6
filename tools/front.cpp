#include "tools/front.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "config/make_stage_config.h"
#include "config/run_stage.h"
#include "config/words.h"
#include "core/error.h"
#include "core/log.h"
#include "core/resources.h"
#include "core/suggest.h"
#include "core/text.h"
#include "tools/run/execute.h"
#include "tools/run/run_options.h"

namespace lowbank {
namespace {

std::string front_help() {
  std::string text =
      "Lowbank: compress a language model, harden it against hardware noise, evaluate it, and\n"
      "price it on processing-in-memory hardware.\n"
      "\n"
      "usage: lowbank <command> [options]\n"
      "\n"
      "start here:\n"
      "  lowbank run configs/recipes/demo.json   all of it, on a small model, in a few minutes\n"
      "  lowbank <command> --help                options of a command, and an example\n"
      "\n"
      "commands:\n";
  text += fmt::format("  {:<14}{}\n", "run", "Run a recipe of several stages; skip what is done.");
  for (const auto& name : stage_names()) {
    text += fmt::format("  {:<14}{}\n", name, make_stage_config(name)->info().purpose);
  }
  return text + "\ndocs/commands.md tells more.";
}

int run_main(std::span<const std::string> arguments) {
  return guarded_main("run", [&] {
    const auto options = parse_run_options(arguments);
    return options ? run_recipe(*options, executable_folder()) : kExitOk;
  });
}

int start_command(const std::string& command, std::span<const std::string> arguments) {
  const std::string executable = executable_folder() + "/lowbank-" + command;
  std::vector<std::string> words = {"lowbank-" + command};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(executable.c_str(), argv.data());
  throw IoError(
      errno_message(executable, "cannot start (scripts/build.sh builds every command)", errno));
}

}  // namespace

int front_main(std::span<const std::string> arguments) {
  // Idle threads of a command should sleep after a few microseconds of spinning: with libgomp's
  // default, two threads are many times slower than one on a machine that does other work as well.
  // libgomp reads the variable when it is loaded, so it is set before a command starts.
  setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
  if (!arguments.empty() && arguments.front() == "--") arguments = arguments.subspan(1);
  if (arguments.empty()) {
    const std::string help = front_help();
    for (const auto line : split_lines(help)) error_line(line);
    return kExitUsage;
  }
  const Fields no_fields;
  const auto said = parse_words(arguments.first(1), {.fields = no_fields, .help = front_help});
  if (!said) return kExitOk;
  const std::string& command = arguments.front();
  const auto rest = arguments.subspan(1);
  if (command == "help") {
    std::vector<std::string> swapped = {"--help"};
    if (!rest.empty()) swapped.insert(swapped.begin(), rest.front());
    return front_main(swapped);
  }
  if (command == "run") return run_main(rest);
  std::vector<std::string> known = stage_names();
  if (std::find(known.begin(), known.end(), command) != known.end()) {
    return start_command(command, rest);
  }
  known.push_back("run");
  throw ConfigError(fmt::format("unknown command '{}'{} (see lowbank --help)", command,
                                did_you_mean(command, known)));
}

}  // namespace lowbank
