#include "tools/convert_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::ConvertConfig>(argc, argv, lowbank::convert_stage);
}
