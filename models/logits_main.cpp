#include "models/logits_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::LogitsConfig>(argc, argv, lowbank::logits_stage);
}
