#include "config/run_stage.h"
#include "train/redistribute_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::RedistributeConfig>(argc, argv, lowbank::redistribute_stage);
}
