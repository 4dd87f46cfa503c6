#pragma once

#include <string>
#include <string_view>

#include <fmt/core.h>

namespace lowbank {

/// What goes where: results to standard output; notes, warnings and progress to standard error;
/// notes and warnings also to the run folder's log.txt, with a time stamp.
struct LogOptions {
  bool quiet = false;  ///< no notes on standard error; warnings stay
  bool json = false;   ///< standard output belongs to the JSON object: results go to stderr
  /// Set in a stage that `lowbank run` started, "[3/14] ": the run tells the progress, so notes go
  /// to log.txt only, and progress bars begin with it.
  std::string stage_label = {};
};
void configure_log(const LogOptions& options);
const LogOptions& log_options();

/// Also append notes and warnings to this file; "" ends it. Errors: IoError.
void log_to_file(const std::string& path);

/// The last word of a command that failed. A closed standard error is no reason to fail again.
void error_line(std::string_view line);
/// A line of progress or information for the person at the terminal.
void note_line(std::string_view line);
/// Something the user should look at, although work goes on.
void warn_line(std::string_view line);
/// A line of the command's result (tables, text). Errors: ClosedPipe is handled by run_stage.
void print_line(std::string_view line);
/// Result text without a line end, flushed at once (streaming generation).
void print_text(std::string_view text);

template <class... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  note_line(fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  warn_line(fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  print_line(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lowbank
