#include "eval/noisy_infer_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::NoisyInferConfig>(argc, argv, lowbank::noisy_infer_stage);
}
