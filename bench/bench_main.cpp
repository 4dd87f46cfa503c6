#include "bench/bench_stage.h"

int main(int argc, char** argv) {
  return lowbank::run_stage<lowbank::BenchConfig>(argc, argv, lowbank::bench_stage);
}
