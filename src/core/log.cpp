#include "core/log.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/standard_streams.h"
#include "core/text.h"

namespace lowbank {
namespace {

LogOptions g_options;
std::FILE* g_file = nullptr;
std::mutex g_mutex;
std::string g_print_failure;  // why standard output could not be written; empty: it could

void write_file_line(std::string_view level, std::string_view line) {
  if (g_file == nullptr) return;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char stamp[32];
  std::strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
  fmt::print(g_file, "{} {}{}\n", stamp, level, line);
  std::fflush(g_file);
}

// Not fmt::print, which throws where standard error is closed.
void write_terminal(std::string_view line) {
  clear_progress_line();
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

void write_result(std::string_view text) {
  if (g_options.json) {  // the JSON object will be the result; this is for whoever watches
    std::fwrite(text.data(), 1, text.size(), stderr);
    return;
  }
  if (!g_print_failure.empty()) return;
  if (was_closed_at_start(STDOUT_FILENO)) {
    g_print_failure = "standard output: cannot write: it is closed";
  } else if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
             std::fflush(stdout) != 0) {
    // The reader closed the pipe (`| head`): it wants no more, and that is no error.
    if (errno == EPIPE) std::_Exit(kExitOk);
    g_print_failure = errno_message("standard output", "cannot write", errno);
  }
}

void throw_print_failure() {
  if (!g_print_failure.empty()) throw IoError(std::exchange(g_print_failure, {}));
}

}  // namespace

void configure_log(const LogOptions& options) {
  g_options = options;
  if (!options.stage_label.empty()) adopt_progress_line();
}

const LogOptions& log_options() { return g_options; }

void log_to_file(const std::string& path) {
  const std::lock_guard lock(g_mutex);
  if (g_file != nullptr) std::fclose(g_file);
  g_file = nullptr;
  if (path.empty()) return;
  g_file = open_to_append(path);
  if (g_file == nullptr) throw IoError(errno_message(path, "cannot open the log", errno));
}

void error_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  write_terminal(printable(line));
}

void note_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  const std::string shown = printable(line);
  if (!g_options.quiet && g_options.stage_label.empty()) write_terminal(shown);
  write_file_line("", shown);
}

void warn_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  const std::string shown = printable(line);
  write_terminal(fmt::format("warning: {}", shown));
  write_file_line("warning: ", shown);
}

void print_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  clear_progress_line();
  write_result(printable(line) + "\n");
}

void print_text(std::string_view text) {
  const std::lock_guard lock(g_mutex);
  write_result(text);
  throw_print_failure();
}

void require_printed() {
  const std::lock_guard lock(g_mutex);
  throw_print_failure();
}

}  // namespace lowbank
