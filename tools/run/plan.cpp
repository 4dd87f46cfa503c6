#include "tools/run/plan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "config/folder_name.h"
#include "config/make_stage_config.h"
#include "config/output_rules.h"
#include "config/run_dir.h"
#include "core/error.h"
#include "core/json.h"
#include "core/opened_files.h"
#include "core/resources.h"
#include "core/suggest.h"
#include "pim/preset.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string text_member(const Json& object, const char* key, const std::string& where) {
  if (!object[key].is_string()) {
    throw ConfigError(fmt::format("{}: {} wants a string; got {}", where, key, object[key].dump()));
  }
  return object[key].get<std::string>();
}

// Reads every hardware preset that the settings name. Errors: those of pim::load_preset.
void check_presets(const Fields& fields) {
  for (const auto& field : fields) {
    if (field.is_group()) check_presets(field.children);
    if (!field.is_preset) continue;
    for (const auto& name : *std::get<const std::vector<std::string>*>(field.target)) {
      pim::load_preset(name);
    }
  }
}

// A damaged file may have been one.
bool is_stage_recipe(const std::string& path) {
  try {
    const Json recipe = read_json(path);
    return recipe.is_object() && recipe.contains("stage") && recipe.contains("name");
  } catch (const IoError&) {
    return true;
  }
}

// The recipe of a run: reads it stage by stage into a plan.
class Planner {
 public:
  explicit Planner(const RunOptions& options) : options_(options) {}

  RunPlan plan() {
    Json recipe = read_json(options_.recipe, /*allow_comments=*/true);
    read_head(recipe);
    const Json& stages = recipe["stages"];
    for (const auto& entry : stages) read_id(entry);
    check_settings_are_for_stages();
    for (std::size_t i = 0; i < stages.size(); ++i) {
      plan_.stages.push_back({ids_[i], read_stage(stages[i], i)});
    }
    for (const auto& setting : options_.settings) {
      if (!used_[setting.first]) {
        throw ConfigError(
            fmt::format("--set {}: no stage of the recipe has this key", setting.first));
      }
    }
    return std::move(plan_);
  }

 private:
  std::string where(std::size_t index) const {
    return fmt::format("{}: stage '{}'", options_.recipe, ids_[index]);
  }

  void read_head(const Json& recipe) {
    if (!recipe.is_object()) throw ConfigError(options_.recipe + ": a recipe is a JSON object");
    std::vector<std::string> known = run_common_keys();
    known.insert(known.end(), {"name", "stages"});
    if (!recipe.contains("stages")) {
      if (recipe.contains("stage") && recipe["stage"].is_string()) {
        throw ConfigError(fmt::format("{}: holds one stage; start it with `lowbank {} {}`",
                                      options_.recipe, recipe["stage"].get<std::string>(),
                                      options_.recipe));
      }
      throw ConfigError(options_.recipe + ": stages is missing: the list of what to run");
    }
    if (!recipe["stages"].is_array() || recipe["stages"].empty()) {
      throw ConfigError(options_.recipe + ": stages wants a list of at least one stage");
    }
    for (const auto& [key, value] : recipe.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        throw ConfigError(
            fmt::format("{}: unknown key '{}'{}", options_.recipe, key, did_you_mean(key, known)));
      }
      if (std::find(run_common_keys().begin(), run_common_keys().end(), key) !=
          run_common_keys().end()) {
        common_[key] = value;
      }
    }
    plan_.name = recipe.contains("name") ? text_member(recipe, "name", options_.recipe)
                                         : fs::path(options_.recipe).stem().string();
    check_folder_name(plan_.name, options_.recipe + ": name");
    plan_.folder = options_.out.empty() ? "runs/" + plan_.name : options_.out;
  }

  void read_id(const Json& entry) {
    const std::string at = fmt::format("{}: stages[{}]", options_.recipe, ids_.size());
    if (!entry.is_object()) throw ConfigError(at + ": wants an object");
    if (!entry.contains("stage")) throw ConfigError(at + ": stage is missing: which one to run");
    const std::string stage = text_member(entry, "stage", at);
    const auto config = make_stage_config(stage);
    if (config == nullptr) {
      throw ConfigError(
          fmt::format("{}: unknown stage '{}'{}", at, stage, did_you_mean(stage, stage_names())));
    }
    if (!config->info().has_run_dir) {
      throw ConfigError(
          fmt::format("{}: '{}' writes no run folder and cannot be part of a recipe", at, stage));
    }
    const std::string id = entry.contains("as") ? text_member(entry, "as", at) : stage;
    check_folder_name(id, at + ": as");
    if (id == kRunStageFolder) {
      throw ConfigError(fmt::format("{}: as: '{}' is taken for the run's own folder", at, id));
    }
    if (std::find(ids_.begin(), ids_.end(), id) != ids_.end()) {
      throw ConfigError(fmt::format(
          "{}: there is a stage '{}' already; give this one a name of its own with \"as\"", at,
          id));
    }
    ids_.push_back(id);
  }

  void check_settings_are_for_stages() {
    for (const auto& [key, value] : options_.settings) {
      const std::string id = key.substr(0, key.find('.'));
      if (key.find('.') == std::string::npos || key.back() == '.') {
        throw ConfigError(fmt::format(
            "--set {}: wants <stage>.<key>=value, or *.<key>=value for every stage that has it",
            key));
      }
      if (id != "*" && std::find(ids_.begin(), ids_.end(), id) == ids_.end()) {
        throw ConfigError(fmt::format("--set {}: the recipe has no stage '{}'{}", key, id,
                                      did_you_mean(id, ids_)));
      }
    }
  }

  void apply_settings(StageConfig& config, const std::string& id) {
    const Fields fields = config.fields();
    for (const auto& [full_key, value] : options_.settings) {
      const auto dot = full_key.find('.');
      const std::string target = full_key.substr(0, dot);
      const std::string key = full_key.substr(dot + 1);
      if (target == "*" ? find_field(fields, key) == nullptr : target != id) continue;
      used_[full_key] = true;
      try {
        apply_text(config, key, value);
      } catch (const ConfigError& e) {
        throw ConfigError(fmt::format("--set {}: {}", full_key, e.what()));
      }
    }
  }

  std::unique_ptr<StageConfig> read_stage(Json entry, std::size_t index) {
    auto config = make_stage_config(entry["stage"].get<std::string>());
    config->recipe_name = plan_.name;
    Json common = common_;
    for (const auto& key : run_common_keys()) {
      if (entry.contains(key)) common.erase(key);
    }
    const std::string folder = fs::path(options_.recipe).parent_path().string();
    apply_json(*config, common, options_.recipe);
    for (const auto& [key, text] : options_.common) {
      if (!entry.contains(key)) apply_text(*config, key, text);
    }
    entry.erase("stage");
    entry.erase("as");
    apply_json(*config, entry, where(index), folder);
    apply_settings(*config, ids_[index]);
    config->common.quiet = options_.quiet;
    config->common.json = false;

    if (config->common.out.empty()) {
      config->common.out = config->place_in_run(plan_.folder, ids_[index]);
    }
    replace_inputs(*config, [&](const std::string& key, const std::string& path) {
      return resolve_input(path, fmt::format("{}: {}", where(index), key), index, folder);
    });
    try {
      check_settings(*config);
      check_presets(config->fields());
      check_outputs(*config);
      claim_output(*config);
    } catch (const Error& e) {
      // Throws the same kind of error again, with the stage's name.
      const std::string message = fmt::format("{}: {}", where(index), e.what());
      if (e.exit_code() == kExitUsage) throw ConfigError(message);
      throw IoError(message);
    }
    return config;
  }

  // "@id/rest" becomes a path; any other path must exist, or be made by an earlier stage.
  std::string resolve_input(const std::string& path, const std::string& at, std::size_t index,
                            const std::string& recipe_folder) {
    if (path.starts_with("@")) {
      const auto slash = path.find('/');
      const std::string id = path.substr(1, slash == std::string::npos ? slash : slash - 1);
      const auto found = std::find(ids_.begin(), ids_.end(), id);
      if (found == ids_.end()) {
        throw ConfigError(
            fmt::format("{}: the recipe has no stage '{}'{}", at, id, did_you_mean(id, ids_)));
      }
      const auto target = static_cast<std::size_t>(found - ids_.begin());
      if (target >= index) {
        throw ConfigError(
            fmt::format("{}: stage '{}' must stand before the one that reads it", at, id));
      }
      const std::string folder = plan_.stages[target].config->run_folder();
      if (folder.empty()) {
        throw ConfigError(
            fmt::format("{}: stage '{}' writes a single file; name that file", at, id));
      }
      return slash == std::string::npos ? folder : folder + path.substr(slash);
    }
    if (is_made_earlier(path)) return path;
    const std::string found = find_input(path, recipe_folder);
    std::error_code error;
    if (!fs::exists(found, error)) {
      throw IoError(fmt::format(
          "{}: {}: there is no such file or folder (paths start at the present folder, {})", at,
          path, fs::current_path(error).string()));
    }
    return found;
  }

  bool is_made_earlier(const std::string& path) const {
    const fs::path wanted = fs::absolute(path).lexically_normal();
    return std::any_of(outputs_.begin(), outputs_.end(), [&](const auto& output) {
      const auto relative = wanted.lexically_relative(output.first);
      return !relative.empty() && *relative.begin() != "..";
    });
  }

  // Two stages must not write to one place; the folder must be writable and ours.
  void claim_output(StageConfig& config) {
    const std::string folder = config.run_folder();
    const fs::path place =
        fs::absolute(folder.empty() ? config.common.out : folder).lexically_normal();
    const std::string id = ids_[plan_.stages.size()];
    const auto [taken, is_new] = outputs_.emplace(place, id);
    if (!is_new) {
      throw ConfigError(
          fmt::format("out: {} is where stage '{}' writes", place.string(), taken->second));
    }
    if (!folder.empty()) RunDir(folder, config);
    check_stage_files(id);
    if (const std::string page = config.page(); !page.empty()) {
      outputs_.emplace(fs::absolute(page).lexically_normal(), id);
    }
  }

  // What `run` writes about a stage replaces only what an earlier `run` wrote.
  void check_stage_files(const std::string& id) const {
    const std::string base = fmt::format("{}/{}/{}", plan_.folder, kRunStageFolder, id);
    const std::string recipe = base + ".json";
    const std::string output = base + ".txt";
    check_is_not_read("out", recipe);
    std::error_code error;
    const bool has_recipe = fs::exists(recipe, error);
    if (has_recipe ? !is_stage_recipe(recipe) : fs::exists(output, error)) {
      throw ConfigError(fmt::format("out: {} is no file of an earlier run; choose another folder",
                                    has_recipe ? recipe : output));
    }
  }

  const RunOptions& options_;
  RunPlan plan_;
  std::vector<std::string> ids_;
  std::map<fs::path, std::string> outputs_;  // place -> stage
  std::map<std::string, bool> used_;         // --set keys that some stage had
  Json common_ = Json::object();
};

}  // namespace

RunPlan plan_run(const RunOptions& options) {
  forget_opened_files();
  return Planner(options).plan();
}

}  // namespace lowbank
