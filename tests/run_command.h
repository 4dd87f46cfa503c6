#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "temp_folder.h"

namespace lowbank::testing {

struct CommandResult {
  int exit_code = -1;
  std::string out, err;
};

/// Runs build/.../bin/NAME with these words, as a user's shell would.
inline CommandResult run_command(const std::string& name, const std::vector<std::string>& words) {
  const TempFolder folder;
  const auto quote = [](const std::string& word) {
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
  };
  std::string line = quote(std::string(LOWBANK_BIN_DIR "/") + name);
  for (const auto& word : words) line += " " + quote(word);
  line += " >" + quote(folder.path("out")) + " 2>" + quote(folder.path("err")) + " </dev/null";
  const int status = std::system(line.c_str());
  const auto content = [&](const char* file) {
    std::ostringstream text;
    text << std::ifstream(folder.path(file), std::ios::binary).rdbuf();
    return text.str();
  };
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .out = content("out"),
          .err = content("err")};
}

/// The JSON object that --json leaves on the last line.
inline std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace lowbank::testing
