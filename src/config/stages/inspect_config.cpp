#include "config/stages/inspect_config.h"

namespace lowbank {

CommandInfo InspectConfig::info() const {
  return {.name = "inspect",
          .purpose = "Show what a checkpoint holds.",
          .example = "lowbank inspect runs/demo/compress --linears",
          .positionals = {"checkpoint"},
          .has_run_dir = false};
}

Fields InspectConfig::stage_fields() const {
  return {
      Field("checkpoint", &checkpoint,
            "checkpoint folder, run folder, or a .safetensors, .gguf or .bin file")
          .input()
          .required(),
      Field("linears", &linears, "one line for each linear layer"),
      Field("history", &history, "the stages that made it"),
      Field("tensors", &tensors, "write all tensors to this .safetensors file, as f32").output()};
}

}  // namespace lowbank
