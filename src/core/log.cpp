#include "core/log.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>

#include <fmt/format.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/progress.h"

namespace lowbank {
namespace {

LogOptions g_options;
std::FILE* g_file = nullptr;
std::mutex g_mutex;

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
  std::FILE* const stream = g_options.json ? stderr : stdout;
  if (std::fwrite(text.data(), 1, text.size(), stream) != text.size() || std::fflush(stream) != 0) {
    // The reader closed the pipe (`| head`): it wants no more, and that is no error.
    if (errno == EPIPE) std::_Exit(kExitOk);
    throw IoError(errno_message("standard output", "cannot write", errno));
  }
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
  write_terminal(line);
}

void note_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  if (!g_options.quiet && g_options.stage_label.empty()) write_terminal(line);
  write_file_line("", line);
}

void warn_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  write_terminal(fmt::format("warning: {}", line));
  write_file_line("warning: ", line);
}

void print_line(std::string_view line) {
  const std::lock_guard lock(g_mutex);
  clear_progress_line();
  std::string text(line);
  text += '\n';
  write_result(text);
}

void print_text(std::string_view text) {
  const std::lock_guard lock(g_mutex);
  write_result(text);
}

}  // namespace lowbank
