#include "tools/inspect.h"

#include "config/run_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::InspectConfig>(argc, argv, lowbank::inspect_stage);
}
