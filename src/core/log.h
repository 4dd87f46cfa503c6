#pragma once

#include <string>
#include <string_view>

#include <fmt/core.h>

namespace lowbank {

/// Where output goes. Results go to standard output; notes, warnings and progress go to standard
/// error; notes and warnings also go to the run folder's log.txt, with a time stamp.
struct LogOptions {
  bool quiet = false;  ///< no notes on standard error; warnings stay
  bool json = false;   ///< standard output belongs to the JSON object: results go to stderr
  /// "[3/14] " in a stage that `lowbank run` started: progress bars begin with it, and notes go to
  /// log.txt only, because the run itself reports the progress. Empty otherwise.
  std::string stage_label = {};
};
void configure_log(const LogOptions& options);
const LogOptions& log_options();

/// Appends notes and warnings to this file as well, from now on; "" stops that. Errors: IoError.
void log_to_file(const std::string& path);

// The functions for lines write each line as `printable` (core/text.h) makes it, because names, keys
// and tokens of files are in it.

/// Writes the error message of a command that failed. If standard error is closed, nothing happens.
void error_line(std::string_view line);
/// A line of progress or information for the person at the terminal.
void note_line(std::string_view line);
/// Something the user should look at, although work goes on.
void warn_line(std::string_view line);
/// A line of the command's result (tables, figures, JSON). A closed pipe (`| head`) ends the process
/// with exit code 0. If standard output cannot be written for another reason, the work goes on, since
/// its files are worth having, and require_printed() reports it.
void print_line(std::string_view line);
/// Result text as it is, without a line end, flushed at once (generated text, the text of --help).
/// Errors: IoError if standard output cannot be written.
void print_text(std::string_view text);
/// Errors: IoError if a line could not be printed. Called at the end of every command.
void require_printed();

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
