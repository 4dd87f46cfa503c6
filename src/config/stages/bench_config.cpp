#include "config/stages/bench_config.h"

namespace lowbank {

CommandInfo BenchConfig::info() const {
  return {.name = "bench",
          .purpose = "Time the hot paths on this machine, beside the machine's own limits.",
          .example = "lowbank bench --case roof_gemm roof_read --runs 5",
          .has_run_dir = false};
}

Fields BenchConfig::stage_fields() const {
  return {Field("case", &cases, "what to time (docs/bench.md); empty: the quick ones").many(),
          Field("model", &model, "checkpoint for the cases that need one").input(),
          Field("calibrate", &calibrate,
                "instead: measure single kernels, write this CPU preset (.json) and compare it")
              .output(),
          Field("runs", &runs, "timed repetitions").at_least(1).at_most(100'000)};
}

}  // namespace lowbank
