#include "config/run_stage.h"
#include "pim/estimate_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::EstimateConfig>(argc, argv, lowbank::estimate_stage);
}
