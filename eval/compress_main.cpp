#include "eval/compress_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::CompressConfig>(argc, argv, lowbank::compress_stage);
}
