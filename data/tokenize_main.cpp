#include "data/tokenize_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::TokenizeConfig>(argc, argv, lowbank::tokenize_stage);
}
