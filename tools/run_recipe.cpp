#include "tools/run_recipe.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "config/fingerprint.h"
#include "config/make_stage_config.h"
#include "config/run_dir.h"
#include "config/stages/estimate_config.h"
#include "config/stages/report_config.h"
#include "config/words.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/resources.h"
#include "core/suggest.h"
#include "core/text.h"
#include "pim/preset.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kStageFolder = "stages";  // resolved recipes and printed output of the stages

const std::vector<std::string> kCommonKeys = {"seed", "threads", "device", "dtype"};

// Ids and the recipe's name become folders: nothing that leads elsewhere or hides.
void check_folder_name(const std::string& name, const std::string& where) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
  if (name.empty() || name.front() == '.' || !plain) {
    throw ConfigError(fmt::format(
        "{}: wants letters, digits, '_', '-' and '.' (it names a folder); got '{}'", where, name));
  }
}

std::string text_member(const Json& object, const char* key, const std::string& where) {
  if (!object[key].is_string()) {
    throw ConfigError(fmt::format("{}: {} wants a string; got {}", where, key, object[key].dump()));
  }
  return object[key].get<std::string>();
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
    std::vector<std::string> known = kCommonKeys;
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
      if (std::find(kCommonKeys.begin(), kCommonKeys.end(), key) != kCommonKeys.end()) {
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
    if (id == kStageFolder) {
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
    for (const auto& key : kCommonKeys) {
      if (entry.contains(key)) common.erase(key);
    }
    apply_json(*config, common, options_.recipe);
    for (const auto& [key, text] : options_.common) {
      if (!entry.contains(key)) apply_text(*config, key, text);
    }
    entry.erase("stage");
    entry.erase("as");
    apply_json(*config, entry, where(index));
    apply_settings(*config, ids_[index]);
    config->common.quiet = options_.quiet;
    config->common.json = false;

    if (config->common.out.empty()) {
      const bool is_report = dynamic_cast<ReportConfig*>(config.get()) != nullptr;
      config->common.out = plan_.folder + "/" + (is_report ? "report.html" : ids_[index]);
      // Later stages read its folder, not the one file that a table is by default.
      const auto* const estimate = dynamic_cast<EstimateConfig*>(config.get());
      if (estimate != nullptr && estimate->makes_table()) config->common.out += '/';
    }
    replace_inputs(*config, [&](const std::string& key, const std::string& path) {
      return resolve_input(path, fmt::format("{}: {}", where(index), key), index);
    });
    try {
      check_settings(*config);
      if (const auto* const estimate = dynamic_cast<EstimateConfig*>(config.get())) {
        for (const auto& system : estimate->system) pim::load_preset(system);
      }
      claim_output(*config);
    } catch (const Error& e) {
      // The same kind of error, with the stage it is about.
      const std::string message = fmt::format("{}: {}", where(index), e.what());
      if (e.exit_code() == kExitUsage) throw ConfigError(message);
      throw IoError(message);
    }
    return config;
  }

  // "@id/rest" becomes a path; any other path must exist, or be made by an earlier stage.
  std::string resolve_input(const std::string& path, const std::string& at, std::size_t index) {
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
    const std::string found = find_input(path);
    std::error_code error;
    if (!fs::exists(found, error) && !is_made_earlier(path)) {
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
    if (const auto* const report = dynamic_cast<ReportConfig*>(&config)) {
      outputs_.emplace(fs::absolute(report->page()).lexically_normal(), id);
    }
  }

  const RunOptions& options_;
  RunPlan plan_;
  std::vector<std::string> ids_;
  std::map<fs::path, std::string> outputs_;  // place -> stage
  std::map<std::string, bool> used_;         // --set keys that some stage had
  Json common_ = Json::object();
};

// Ctrl-C reaches the child by itself, as both are in the terminal's process group; the front only
// has to outlive it. SIGTERM comes to one process, and is passed on.
volatile std::sig_atomic_t g_stop = 0;
volatile pid_t g_child = 0;

void on_stop(int signal) {
  g_stop = 1;
  if (signal == SIGTERM && g_child > 0) kill(g_child, SIGTERM);
}

class StopHandlers {
 public:
  StopHandlers() {
    g_stop = 0;
    struct sigaction action {};
    action.sa_handler = on_stop;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &before_int_);
    sigaction(SIGTERM, &action, &before_term_);
  }
  ~StopHandlers() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
  }
  StopHandlers(const StopHandlers&) = delete;
  StopHandlers& operator=(const StopHandlers&) = delete;

 private:
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
};

// Starts a command and waits for it; its standard output goes to a file. Returns waitpid's status.
int run_child(const std::string& executable, const std::string& recipe, const std::string& output,
              const std::string& label) {
  const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw IoError(errno_message(output, "cannot write", errno));
  // Blocked until g_child is known: a SIGTERM in between would stop only the front.
  sigset_t stop_signals;
  sigset_t before;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop_signals, &before);
  const pid_t child = fork();
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    dup2(fd, STDOUT_FILENO);
    setenv("LOWBANK_STAGE_LABEL", label.c_str(), 1);
    execl(executable.c_str(), executable.c_str(), recipe.c_str(), nullptr);
    _exit(kExitEnvironment);
  }
  const int fork_errno = errno;
  g_child = child;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  close(fd);
  if (child < 0) throw IoError(errno_message(executable, "cannot start", fork_errno));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  g_child = 0;
  return status;
}

std::string stage_executable(const std::string& folder, StageConfig& config) {
  const std::string path = folder + "/lowbank-" + config.info().name;
  if (access(path.c_str(), X_OK) != 0) {
    throw IoError(
        errno_message(path, "cannot start (scripts/build.sh builds every command)", errno));
  }
  return path;
}

// The run folder's recipe of one stage, all values spelled out.
std::string write_stage_recipe(const RunPlan& plan, PlannedStage& stage, bool resume) {
  const Fields fields = stage.config->fields();
  if (find_field(fields, "resume") != nullptr) {
    apply_text(*stage.config, "resume", resume ? "true" : "false");
  }
  Json recipe = {{"stage", stage.config->info().name}, {"name", plan.name}};
  recipe.update(to_json(fields));
  make_folders(fmt::format("{}/{}", plan.folder, kStageFolder));
  const std::string path = fmt::format("{}/{}/{}.json", plan.folder, kStageFolder, stage.id);
  write_file(path, dump_json(recipe));
  return path;
}

const ReportConfig* last_report(const RunPlan& plan) {
  for (auto stage = plan.stages.rbegin(); stage != plan.stages.rend(); ++stage) {
    if (const auto* report = dynamic_cast<ReportConfig*>(stage->config.get())) return report;
  }
  return nullptr;
}

// Exit code of a stage that ended badly, after saying so.
int stage_failed(const RunOptions& options, const std::string& id, int status) {
  int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitBug;
  if (g_stop != 0 || exit_code == kExitInterrupted) {
    throw Interrupted(fmt::format("stopped in stage '{}'; go on with: {}", id, options.command));
  }
  if (WIFSIGNALED(status)) {
    // Only the kernel's out-of-memory killer and a person with a reason send this one.
    const bool killed = WTERMSIG(status) == SIGKILL;
    if (killed) exit_code = kExitEnvironment;
    error_line(fmt::format("lowbank run: stage '{}' was ended by signal {} ({}){}", id,
                           WTERMSIG(status), strsignal(WTERMSIG(status)),
                           killed ? "; was there enough memory?" : ""));
  }
  error_line(
      fmt::format("lowbank run: stage '{}' failed; the stages before it are kept, and "
                  "skipped by: {}",
                  id, options.command));
  return exit_code;
}

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

Fields RunOptions::fields() const {
  // Common keys are the stages' own, which check and keep them; `common` holds their text.
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
  options.recipe = said->words.front();
  for (const auto& [key, text, is_set] : said->settings) {
    if (is_set) {
      options.settings.emplace_back(key, text);
    } else if (std::find(kCommonKeys.begin(), kCommonKeys.end(), key) != kCommonKeys.end()) {
      options.common.emplace_back(key, text);
    } else {
      apply_text(options, key, text);
    }
  }
  while (options.out.size() > 1 && options.out.back() == '/') options.out.pop_back();
  return options;
}

RunPlan plan_run(const RunOptions& options) { return Planner(options).plan(); }

StageState stage_state(PlannedStage& stage) {
  StageConfig& config = *stage.config;
  const std::string folder = config.run_folder();
  if (folder.empty()) return StageState::kFresh;  // a single file does not say what made it
  try {
    if (fs::exists(folder + "/run.json")) {
      const Json run = read_json(folder + "/run.json");
      const Json known = run.value("fingerprint", Json::object());
      const auto* const report = dynamic_cast<ReportConfig*>(&config);
      if (same_fingerprint(stage_fingerprint(config, known), known) &&
          has_outputs(folder, run.value("outputs", Json())) &&
          (report == nullptr || fs::exists(report->page()))) {
        return StageState::kDone;
      }
    } else if (fs::exists(folder + "/started.json")) {
      const Fields fields = config.fields();
      const Json known = read_json(folder + "/started.json").value("fingerprint", Json::object());
      if (find_field(fields, "resume") != nullptr &&
          same_fingerprint(stage_fingerprint(config, known), known)) {
        return StageState::kResume;
      }
    }
  } catch (const Error&) {
    // A damaged record, or an input that is gone: the stage runs again, and says what is wrong.
  }
  return StageState::kFresh;
}

int run_recipe(const RunOptions& options, const std::string& command_folder) {
  configure_log({.quiet = options.quiet, .json = options.json});
  RunPlan plan = plan_run(options);
  std::vector<std::string> executables;
  for (const auto& stage : plan.stages) {
    executables.push_back(stage_executable(command_folder, *stage.config));
  }
  const StopHandlers stop_handlers;

  const std::size_t count = plan.stages.size();
  const bool at_terminal = isatty(STDERR_FILENO) != 0 && !options.quiet;
  Json results = Json::array();
  std::size_t num_skipped = 0;
  const auto run_start = std::chrono::steady_clock::now();
  const auto seconds_since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (std::size_t i = 0; i < count; ++i) {
    PlannedStage& stage = plan.stages[i];
    if (g_stop != 0) {
      throw Interrupted(
          fmt::format("stopped before stage '{}'; go on with: {}", stage.id, options.command));
    }
    const std::string label =
        fmt::format("[{:>{}}/{}] ", i + 1, fmt::formatted_size("{}", count), count);
    const std::string line = fmt::format("{}{:.<32}", label, stage.id + " ");
    const StageState state = stage_state(stage);
    if (state == StageState::kDone) {
      note("{} skipped (unchanged)", line);
      results.push_back({{"id", stage.id}, {"skipped", true}, {"seconds", 0.0}});
      ++num_skipped;
      continue;
    }
    const bool resume = state == StageState::kResume;
    const std::string recipe = write_stage_recipe(plan, stage, resume);
    const std::string output = fmt::format("{}/{}/{}.txt", plan.folder, kStageFolder, stage.id);
    if (at_terminal) {
      // The child's progress bar takes this line over.
      std::fputs((label + stage.id + " ...").c_str(), stderr);
      std::fflush(stderr);
      adopt_progress_line();
    }
    const auto start = std::chrono::steady_clock::now();
    const int status = run_child(executables[i], recipe, output, label);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != kExitOk) {
      return stage_failed(options, stage.id, status);
    }
    const double seconds = seconds_since(start);
    note("{} {}{}", line, format_duration(seconds), resume ? " (resumed)" : "");
    results.push_back({{"id", stage.id}, {"skipped", false}, {"seconds", seconds}});
  }

  const ReportConfig* const report = last_report(plan);
  note("{} of {} stages run, {} skipped, in {}", count - num_skipped, count, num_skipped,
       format_duration(seconds_since(run_start)));
  const std::string summary = report != nullptr ? report->run_folder() + "/summary.txt" : "";
  if (!summary.empty() && fs::exists(summary)) {
    std::string text = read_text(summary);
    if (text.ends_with('\n')) text.pop_back();
    print_line("\n" + text);
  } else {
    print("the results are in {}", plan.folder);
  }
  if (options.json) {
    configure_log({.quiet = true});
    const Json out = {{"stages", results},
                      {"report", report != nullptr ? Json(report->page()) : Json()}};
    print_line(out.dump());
  }
  return kExitOk;
}

}  // namespace lowbank
