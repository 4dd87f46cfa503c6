#include "models/workload_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::WorkloadConfig>(argc, argv, lowbank::workload_stage);
}
