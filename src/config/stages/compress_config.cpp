#include "config/stages/compress_config.h"

#include "config/parts/shared_fields.h"

namespace lowbank {

CommandInfo CompressConfig::info() const {
  return {.name = "compress",
          .purpose = "Replace linear layers by low-rank factors.",
          .example = "lowbank compress runs/demo/finetune small --rank ratio:0.5",
          .positionals = {"checkpoint", "out"}};
}

Fields CompressConfig::stage_fields() const {
  return {
      checkpoint_field(&checkpoint),
      Field("method", &method, "how the factors are found").one_of({"svd"}),
      Field("rank", &rank,
            "break_even, ratio:X (of break-even), fraction:X (of full), energy:X, fixed:K"),
      Field("modules", &modules,
            "regular expressions, searched anywhere in the module path; empty: every linear "
            "inside the blocks"),
      Field("to", &to, "factors, or dense: multiply the factors out").one_of({"factors", "dense"}),
      Field("dtype", &dtype, "type of the weights; keep: as stored, and factors as their layer's")
          .one_of({"keep", "f32", "bf16", "f16"})};
}

}  // namespace lowbank
