#include "config/stages/workload_config.h"

#include "config/parts/shared_fields.h"

namespace lowbank {

CommandInfo WorkloadConfig::info() const {
  return {.name = "workload",
          .purpose = "List the operators a model runs, for the estimator.",
          .example = "lowbank workload runs/demo/compress --context 512 --out workload.json",
          .positionals = {"checkpoint"},
          .output_file = "workload.json"};
}

Fields WorkloadConfig::stage_fields() const {
  return {checkpoint_field(&checkpoint),
          Field("context", &context, "tokens of the prompt, and context of a decode step")
              .at_least(1)
              .at_most(1e12)
              .unit("tokens"),
          Field("batch", &batch, "sequences at a time").at_least(1).at_most(1e12),
          Field("phase", &phase, "operators of").one_of({"prefill", "decode", "both"})};
}

}  // namespace lowbank
