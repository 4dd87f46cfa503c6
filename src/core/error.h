#pragma once

#include <stdexcept>
#include <string>

namespace lowbank {

/// Process exit codes of every command (docs/commands.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;        ///< arguments, recipe, inputs that do not fit together
inline constexpr int kExitEnvironment = 3;  ///< files, memory, disk, a loss that is not finite
inline constexpr int kExitBug = 70;
/// Only from a stage to the `lowbank run` that started it: it cannot resume, start it anew.
inline constexpr int kExitStartAnew = 75;
inline constexpr int kExitInterrupted = 130;

/// A failure that the user can cause and mend. `what()` is one line that says what is wrong and
/// where, with the value, the allowed range and a hint.
class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// A wrong argument or recipe, or valid inputs that do not fit together. Exit code 2.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(kExitUsage, message) {}
};

/// A file that is missing, unreadable, corrupt or cannot be written. Exit code 3.
class IoError : public Error {
 public:
  explicit IoError(const std::string& message) : Error(kExitEnvironment, message) {}
};

/// A file from which an earlier run could go on (a resume point, metrics.jsonl) is damaged. Exit
/// code 3; a stage of `lowbank run` starts from its beginning instead.
class DamagedRecord : public IoError {
 public:
  using IoError::IoError;
};

/// A computation that cannot go on: a loss that is not finite, too little memory. Exit code 3.
class ResourceError : public Error {
 public:
  explicit ResourceError(const std::string& message) : Error(kExitEnvironment, message) {}
};

/// Ctrl-C, after the work so far was saved; `what()` says how to go on. Exit code 130.
class Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& message) : Error(kExitInterrupted, message) {}
};

/// "PATH: DOING: reason of errno", the text of an IoError after a failed system call.
std::string errno_message(const std::string& path, const std::string& doing, int error_number);

}  // namespace lowbank
