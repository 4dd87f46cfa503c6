#include "config/command_line.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/suggest.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

std::string flag_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

// "-" alone is a file name (standard input).
bool is_flag(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

// Words of a list as text for apply_text. A single name may itself be a list, "a,b"; a path may
// hold commas.
std::string join_words(const Field& field, std::span<const std::string> words) {
  if (words.size() == 1 && field.path == Field::Path::kNone) return words.front();
  if (std::holds_alternative<std::vector<double>*>(field.target)) {
    return fmt::format("{}", fmt::join(words, ","));
  }
  return Json(std::vector<std::string>(words.begin(), words.end()))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

void apply_recipe(StageConfig& config, Fields& fields, const std::string& path) {
  Json recipe = read_json(path, /*allow_comments=*/true);
  config.recipe_name = std::filesystem::path(path).stem().string();
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
  if (recipe.contains("stage")) {
    if (recipe["stage"] != config.info().name) {
      throw ConfigError(fmt::format("{}: is a recipe for stage {}, not for '{}'", path,
                                    recipe["stage"].dump(), config.info().name));
    }
    recipe.erase("stage");
  }
  apply_json(fields, recipe, path);
}

std::string default_text(const Field& field) {
  return std::visit(
      [](auto* target) -> std::string {
        using T = std::remove_pointer_t<decltype(target)>;
        if constexpr (std::is_same_v<T, bool>)
          return "";  // flags: absent is false
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
  return std::visit(
      [&](auto* target) -> std::string {
        using T = std::remove_pointer_t<decltype(target)>;
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

void append_field_help(std::string& text, const Field& field, const std::string& flag) {
  std::string notes;
  if (const auto value = default_text(field); !value.empty()) notes = "default " + value;
  if (const auto range = field.range_text(); !range.empty()) {
    notes += (notes.empty() ? "" : "; ") + range;
  }
  text += fmt::format("  {:<28} {}{}\n", flag + placeholder(field), field.help,
                      notes.empty() ? "" : " [" + notes + "]");
}

void append_group_help(std::string& text, const Field& group, const std::string& prefix) {
  for (const auto& field : group.children) {
    const std::string key = prefix + field.name;
    if (field.is_group())
      append_group_help(text, field, key + ".");
    else
      append_field_help(text, field, key);
  }
}

}  // namespace

Fields StageConfig::fields() {
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
  if (find_field(out, "dtype") == nullptr) {  // convert's is another: the type of what it writes
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
    const auto wanted = std::filesystem::path(command.output_file).extension();
    if (std::filesystem::path(common.out).extension() == wanted) return "";
  }
  return common.out;
}

std::string help_text(StageConfig& config) {
  const CommandInfo info = config.info();
  Fields fields = config.fields();
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
  for (const auto& field : fields) {
    if (field.is_group()) {
      text += fmt::format("  {:<28} {}\n", flag_name(field.name) + " FILE", field.help);
    } else {
      append_field_help(text, field, flag_name(field.name));
    }
  }
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

void check_settings(StageConfig& config) {
  check_required(config.fields());
  const std::string& device = config.common.device;
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
                        device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (device != "cpu" && device != "cuda" && !numbered) {
    throw ConfigError("device: wants cpu, cuda or cuda:i; got '" + device + "'");
  }
  config.validate();
}

ParseOutcome parse_command_line(std::span<const std::string> arguments, StageConfig& config) {
  const CommandInfo info = config.info();
  Fields fields = config.fields();
  std::vector<std::string> flags = {"--set", "--help", "--version"};
  for (const auto& field : fields) flags.push_back(flag_name(field.name));

  struct Setting {
    std::string key;
    std::string text;
  };
  std::vector<Setting> settings;
  std::vector<std::string> words;
  std::string recipe;
  const auto is_known_flag = [&](const std::string& word) {
    return std::find(flags.begin(), flags.end(), word.substr(0, word.find('='))) != flags.end();
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "--help" || word == "-h") {
      print_line(help_text(config));
      return ParseOutcome::kHelpShown;
    }
    if (word == "--version") {
      print("lowbank {}", version());
      return ParseOutcome::kHelpShown;
    }
    if (!is_flag(word)) {
      if (words.empty() && recipe.empty() && info.takes_recipe && word.ends_with(".json")) {
        recipe = word;
      } else {
        words.push_back(word);
      }
      continue;
    }
    const auto equals = word.find('=');
    const std::string flag = word.substr(0, equals);
    const auto value = [&]() -> std::string {
      if (equals != std::string::npos) return word.substr(equals + 1);
      if (i + 1 >= arguments.size() || is_known_flag(arguments[i + 1])) {
        throw ConfigError(flag + " wants a value");
      }
      return arguments[++i];
    };
    if (flag == "--set") {
      const std::string assignment = value();
      const auto at = assignment.find('=');
      if (at == std::string::npos) {
        throw ConfigError("--set wants key=value; got '" + assignment + "'");
      }
      settings.push_back({assignment.substr(0, at), assignment.substr(at + 1)});
      continue;
    }
    std::string key = flag.starts_with("--") ? flag.substr(2) : "";
    std::replace(key.begin(), key.end(), '-', '_');
    Field* field = find_field(fields, key);
    if (field == nullptr || key.find('.') != std::string::npos) {
      throw ConfigError(fmt::format("unknown option '{}'{} (see lowbank {} --help)", flag,
                                    did_you_mean(flag, flags), info.name));
    }
    const bool is_switch = !field->is_group() && std::holds_alternative<bool*>(field->target);
    if (is_switch) {
      settings.push_back({key, equals == std::string::npos ? "true" : value()});
    } else if (field->takes_many && equals == std::string::npos) {
      std::vector<std::string> values;
      while (i + 1 < arguments.size() && !is_flag(arguments[i + 1])) {
        values.push_back(arguments[++i]);
      }
      if (values.empty()) throw ConfigError(flag + " wants at least one value");
      settings.push_back({key, join_words(*field, values)});
    } else {
      settings.push_back({key, value()});
    }
  }

  if (!recipe.empty()) apply_recipe(config, fields, recipe);
  std::size_t next = 0;
  for (std::size_t p = 0; p < info.positionals.size() && next < words.size(); ++p) {
    const std::string& key = info.positionals[p];
    if (const Field& field = *find_field(fields, key); field.takes_many) {
      apply_text(fields, key, join_words(field, std::span(words).subspan(next)));
      next = words.size();
    } else {
      apply_text(fields, key, words[next++]);
    }
  }
  if (next < words.size()) {
    throw ConfigError(
        fmt::format("unexpected argument '{}' (see lowbank {} --help)", words[next], info.name));
  }
  for (const auto& setting : settings) apply_text(fields, setting.key, setting.text);
  check_settings(config);
  return ParseOutcome::kRun;
}

}  // namespace lowbank
