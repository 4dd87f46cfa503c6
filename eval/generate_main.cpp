#include "eval/generate_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::GenerateConfig>(argc, argv, lowbank::generate_stage);
}
