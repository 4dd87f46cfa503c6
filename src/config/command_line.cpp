#include "config/command_line.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/folder_name.h"
#include "config/words.h"
#include "core/error.h"
#include "core/json.h"
#include "core/resources.h"
#include "core/threads.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFlagWidth = 28;  // columns for a flag and its value in --help

void apply_recipe(StageConfig& config, const std::string& path) {
  Json recipe = read_json(path, /*allow_comments=*/true);
  config.recipe_name = fs::path(path).stem().string();
  if (!recipe.is_object()) throw ConfigError(path + ": a recipe is a JSON object");
  if (recipe.contains("stages")) {
    throw ConfigError(
        fmt::format("{}: lists several stages; start it with `lowbank run {}`", path, path));
  }
  if (recipe.contains("name")) {
    if (!recipe["name"].is_string()) throw ConfigError(path + ": name wants a string");
    config.recipe_name = recipe["name"].get<std::string>();
    recipe.erase("name");
  }
  check_folder_name(config.recipe_name, path + ": name");
  if (recipe.contains("stage")) {
    if (recipe["stage"] != config.info().name) {
      throw ConfigError(fmt::format("{}: is a recipe for stage {}, not for '{}'", path,
                                    recipe["stage"].dump(), config.info().name));
    }
    recipe.erase("stage");
  }
  const std::string folder = fs::path(path).parent_path().string();
  apply_json(config, recipe, path, folder);
  replace_inputs(config, [&](const std::string& /*key*/, const std::string& input) {
    return find_input(input, folder);
  });
}

std::string default_text(const Field& field) {
  if (field.is_group()) return "";
  return std::visit(
      [](auto* target) -> std::string {
        using T = std::remove_cvref_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, bool>)
          return "";  // a switch that is absent is false
        else if constexpr (std::is_same_v<T, std::string>)
          return *target;
        else if constexpr (std::is_same_v<T, std::vector<std::string>> ||
                           std::is_same_v<T, std::vector<double>>)
          return fmt::format("{}", fmt::join(*target, ","));
        else
          return fmt::format("{}", *target);
      },
      field.target);
}

std::string placeholder(const Field& field) {
  if (field.is_group()) return " FILE";
  if (!field.value_name.empty()) return " " + field.value_name;
  return std::visit(
      [&](auto* target) -> std::string {
        using T = std::remove_cvref_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, bool>)
          return "";
        else if constexpr (std::is_same_v<T, std::int64_t>)
          return " N";
        else if constexpr (std::is_same_v<T, double>)
          return " X";
        else if constexpr (std::is_same_v<T, std::vector<double>>)
          return " X,...";
        else if constexpr (std::is_same_v<T, std::string>)
          return field.path == Field::Path::kNone ? " TEXT" : " PATH";
        else
          return field.takes_many ? " A B ..." : " A,B,...";
      },
      field.target);
}

std::string field_line(const Field& field, const std::string& flag, int width = kFlagWidth) {
  std::string notes;
  if (const auto value = default_text(field); !value.empty()) notes = "default " + value;
  if (const auto range = field.range_text(); !range.empty()) {
    notes += (notes.empty() ? "" : "; ") + range;
  }
  return fmt::format("  {:<{}} {}{}\n", flag + placeholder(field), width, field.help,
                     notes.empty() ? "" : " [" + notes + "]");
}

void append_group_help(std::string& text, const Field& group, const std::string& prefix) {
  for (const auto& field : group.children) {
    const std::string key = prefix + field.name;
    if (field.is_group())
      append_group_help(text, field, key + ".");
    else
      text += field_line(field, key);
  }
}

}  // namespace

std::string option_lines(const Fields& fields, int width) {
  std::string text;
  for (const auto& field : fields) text += field_line(field, flag_name(field.name), width);
  return text;
}

Fields StageConfig::fields() const {
  Fields out = stage_fields();
  const CommandInfo command = info();
  if (command.has_run_dir) {
    std::string help = "run folder; empty: runs/<recipe name>/<stage>";
    if (!command.output_file.empty())
      help = fmt::format("run folder, or the file alone: {}", command.output_file);
    out.push_back(Field("out", &common.out, help).output().no_effect());
  }
  out.push_back(Field("seed", &common.seed, "seed of every random draw").at_least(0));
  out.push_back(Field("threads", &common.threads, "processor threads; 0 = all cores")
                    .at_least(0)
                    .at_most(1024)
                    .no_effect());
  out.push_back(Field("device", &common.device, "cpu, cuda or cuda:i"));
  if (find_field(out, "dtype") == nullptr) {  // `convert` has its own: the type that it writes
    out.push_back(
        Field("dtype", &common.dtype, "type of the computation").one_of({"f32", "bf16", "f16"}));
  }
  out.push_back(Field("quiet", &common.quiet, "no notes, no progress bars").no_effect());
  out.push_back(
      Field("json", &common.json, "last line of standard output: the metrics as one JSON object")
          .no_effect());
  return out;
}

std::string StageConfig::run_folder() const {
  const CommandInfo command = info();
  if (!command.has_run_dir) return "";
  if (common.out.empty()) return fmt::format("runs/{}/{}", recipe_name, command.name);
  if (!command.output_file.empty()) {
    const auto wanted = fs::path(command.output_file).extension();
    if (fs::path(common.out).extension() == wanted) return "";
  }
  return common.out;
}

std::string StageConfig::place_in_run(const std::string& folder, const std::string& id) const {
  return folder + "/" + id;
}

std::string help_text(const StageConfig& config) {
  const CommandInfo info = config.info();
  const Fields fields = config.fields();
  std::string words;
  for (const auto& key : info.positionals) {
    std::string word = key;
    std::transform(word.begin(), word.end(), word.begin(), ::toupper);
    const Field* const field = find_field(fields, key);
    words += " " + word + (field != nullptr && field->takes_many ? "..." : "");
  }
  std::string text =
      fmt::format("{}\n\nusage: lowbank {}{} [options]\n", info.purpose, info.name, words);
  if (info.takes_recipe) {
    text += fmt::format("       lowbank {} recipe.json [--set key=value ...]\n", info.name);
  }
  text += "\noptions (each is also a key of the recipe, with _ for -):\n";
  text += option_lines(fields, kFlagWidth);
  text +=
      "  --set key=value              any key, dotted for groups\n"
      "  --help, --version\n";
  for (const auto& field : fields) {
    if (!field.is_group()) continue;
    text += fmt::format("\n{}, with --set:\n", field.help);
    append_group_help(text, field, field.name + ".");
  }
  return text + fmt::format("\nexample:\n  {}\n", info.example);
}

void check_settings(const StageConfig& config) {
  check_required(config.fields());
  const std::string& device = config.common.device;
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
                        device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (device != "cpu" && device != "cuda" && !numbered) {
    throw ConfigError("device: wants cpu, cuda or cuda:i; got '" + device + "'");
  }
  if (config.common.threads > max_threads()) {
    throw ConfigError(fmt::format(
        "threads: wants at most {} on this machine, which has {} processors, or 0 = all cores; got "
        "{}",
        max_threads(), num_processors(), config.common.threads));
  }
  config.validate();
}

std::string name_recipe(const StageConfig& config, const std::string& message) {
  const std::string key = message.substr(0, message.find_first_of(": "));
  const Fields fields = config.fields();
  // "estimate: give one of ..." is about several keys.
  const bool is_key = find_field(fields, key) != nullptr || key == config.info().name;
  const auto& typed = config.typed_keys;
  const bool is_typed = std::find(typed.begin(), typed.end(), key) != typed.end();
  if (config.recipe_file.empty() || !is_key || is_typed) return message;
  return fmt::format("{}: {}", config.recipe_file, message);
}

ParseOutcome parse_command_line(std::span<const std::string> arguments, StageConfig& config) {
  const CommandInfo info = config.info();
  const Fields fields = config.fields();
  const auto said = parse_words(
      arguments, {.command = info.name, .fields = fields, .assignment = "key=value", .help = [&] {
                    return help_text(config);
                  }});
  if (!said) return ParseOutcome::kHelpShown;

  std::span<const std::string> words = said->words;
  if (info.takes_recipe && !words.empty() && words.front().ends_with(".json")) {
    config.recipe_file = find_input(words.front());
    apply_recipe(config, config.recipe_file);
    words = words.subspan(1);
  }
  for (const auto& key : info.positionals) {
    if (words.empty()) break;
    const Field& field = *find_field(fields, key);
    const auto own = words.first(field.takes_many ? words.size() : 1);
    apply_text(config, key, field.takes_many ? join_words(field, own) : own.front());
    config.typed_keys.push_back(key);
    words = words.subspan(own.size());
  }
  if (!words.empty()) {
    throw ConfigError(
        fmt::format("unexpected argument '{}' (see lowbank {} --help)", words.front(), info.name));
  }
  for (const auto& setting : said->settings) {
    apply_text(config, setting.key, setting.text);
    config.typed_keys.push_back(setting.key);
  }
  replace_inputs(config, [](const std::string& /*key*/, const std::string& input) {
    return find_input(input);
  });
  try {
    check_settings(config);
  } catch (const ConfigError& e) {
    throw ConfigError(name_recipe(config, e.what()));
  }
  return ParseOutcome::kRun;
}

}  // namespace lowbank
