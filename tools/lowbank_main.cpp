#include <string>
#include <vector>

#include "config/run_stage.h"
#include "tools/front.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return lowbank::guarded_main("", [&] { return lowbank::front_main(arguments); });
}
