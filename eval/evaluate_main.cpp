#include "eval/evaluate_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::EvaluateConfig>(argc, argv, lowbank::evaluate_stage);
}
