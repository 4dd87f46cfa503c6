#include "tools/run/execute.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/folder_lock.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "tools/run/plan.h"
#include "tools/run/state.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Ctrl-C also reaches the child, because both are in the terminal's process group; this process
// only has to outlive the child. SIGTERM reaches one process only, so it is passed on, and so is
// SIGHUP. A child whose front was killed gets a SIGTERM from the operating system.
volatile std::sig_atomic_t g_stop = 0;
volatile pid_t g_child = 0;

void on_stop(int signal) {
  g_stop = 1;
  if (signal != SIGINT && g_child > 0) kill(g_child, SIGTERM);
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
    sigaction(SIGHUP, nullptr, &before_hup_);
    if (before_hup_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup ignores it
  }
  ~StopHandlers() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
    sigaction(SIGHUP, &before_hup_, nullptr);
  }
  StopHandlers(const StopHandlers&) = delete;
  StopHandlers& operator=(const StopHandlers&) = delete;

 private:
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
  struct sigaction before_hup_ {};
};

// Starts a command and waits for it; its standard output goes to a file. Returns waitpid's status.
int run_child(const std::string& executable, const std::string& recipe, const std::string& output,
              const std::string& label) {
  const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw IoError(errno_message(output, "cannot write", errno));
  // Blocked until g_child is known: a signal before that would stop only this process.
  sigset_t stop_signals;
  sigset_t before;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &stop_signals, &before);
  const pid_t front = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != front) _exit(kExitInterrupted);  // it died before that
    sigprocmask(SIG_SETMASK, &before, nullptr);
    dup2(fd, STDOUT_FILENO);
    setenv("LOWBANK_STAGE_LABEL", label.c_str(), 1);
    execl(executable.c_str(), executable.c_str(), "--", recipe.c_str(), nullptr);
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

// Writes the recipe of one stage, with all values, into the run folder; returns its path.
std::string write_stage_recipe(const RunPlan& plan, PlannedStage& stage, bool resume) {
  const Fields fields = stage.config->fields();
  if (find_field(fields, "resume") != nullptr) {
    apply_text(*stage.config, "resume", resume ? "true" : "false");
  }
  Json recipe = {{"stage", stage.config->info().name}, {"name", plan.name}};
  recipe.update(to_json(fields));
  make_folders(fmt::format("{}/{}", plan.folder, kRunStageFolder));
  const std::string path = fmt::format("{}/{}/{}.json", plan.folder, kRunStageFolder, stage.id);
  write_file(path, dump_json(recipe));
  return path;
}

// The last stage that makes a page for people; nullptr if none does.
const StageConfig* last_with_page(const RunPlan& plan) {
  for (auto stage = plan.stages.rbegin(); stage != plan.stages.rend(); ++stage) {
    if (!stage->config->page().empty()) return stage->config.get();
  }
  return nullptr;
}

// Reports a stage that failed and returns its exit code.
int stage_failed(const RunOptions& options, const std::string& id, int status) {
  int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitBug;
  if (g_stop != 0 || exit_code == kExitInterrupted) {
    throw Interrupted(fmt::format("stopped in stage '{}'; go on with: {}", id, options.command));
  }
  if (WIFSIGNALED(status)) {
    // SIGKILL comes only from the kernel's out-of-memory killer or from a person.
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

// A stage that was killed after its last word, run.json, left these files.
void tidy_done_stage(const std::string& folder) {
  const std::string started = folder + "/started.json";
  const std::string lock_file = fmt::format("{}/{}", folder, kLockFile);
  std::error_code error;
  if (!fs::exists(started, error) && !fs::exists(lock_file, error)) return;
  const FolderLock lock(folder, "lowbank run", std::chrono::seconds(0));  // it takes its file along
  fs::remove(started, error);
}

}  // namespace

int run_recipe(const RunOptions& options, const std::string& command_folder) {
  configure_log({.quiet = options.quiet, .json = options.json});
  RunPlan plan = plan_run(options);
  std::vector<std::string> executables;
  for (const auto& stage : plan.stages) {
    executables.push_back(stage_executable(command_folder, *stage.config));
  }
  const StopHandlers stop_handlers;
  make_folders(plan.folder);
  const FolderLock lock(plan.folder, "lowbank run", std::chrono::seconds(0));
  if (lock.is_held()) remove_left_temporaries(fmt::format("{}/{}", plan.folder, kRunStageFolder));

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
    const StageState state = stage_state(*stage.config);
    if (state == StageState::kDone) {
      tidy_done_stage(stage.config->run_folder());
      note("{} skipped (unchanged)", line);
      results.push_back({{"id", stage.id}, {"skipped", true}, {"seconds", 0.0}});
      ++num_skipped;
      continue;
    }
    bool resume = state == StageState::kResume;
    const std::string recipe = write_stage_recipe(plan, stage, resume);
    const std::string output = fmt::format("{}/{}/{}.txt", plan.folder, kRunStageFolder, stage.id);
    if (at_terminal) {
      // The child's progress bar takes this line over.
      std::fputs((label + stage.id + " ...").c_str(), stderr);
      std::fflush(stderr);
      adopt_progress_line();
    }
    const auto start = std::chrono::steady_clock::now();
    int status = run_child(executables[i], recipe, output, label);
    if (resume && WIFEXITED(status) && WEXITSTATUS(status) == kExitStartAnew) {
      resume = false;
      write_stage_recipe(plan, stage, resume);
      status = run_child(executables[i], recipe, output, label);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != kExitOk) {
      return stage_failed(options, stage.id, status);
    }
    const double seconds = seconds_since(start);
    note("{} {}{}", line, format_duration(seconds), resume ? " (resumed)" : "");
    results.push_back({{"id", stage.id}, {"skipped", false}, {"seconds", seconds}});
  }

  const StageConfig* const report = last_with_page(plan);
  note("{} of {} stages run, {} skipped, in {}", count - num_skipped, count, num_skipped,
       format_duration(seconds_since(run_start)));
  const std::string summary = report != nullptr ? report->run_folder() + "/summary.txt" : "";
  if (!summary.empty() && fs::exists(summary)) {
    const std::string text = read_text(summary);
    print_line("");
    for (const auto line : split_lines(text)) print_line(line);
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
