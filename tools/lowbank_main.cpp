#include <csignal>
#include <string>
#include <vector>

#include "config/run_stage.h"
#include "tools/front.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, which ends quietly
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return lowbank::guarded_main("", [&] { return lowbank::front_main(arguments); });
}
