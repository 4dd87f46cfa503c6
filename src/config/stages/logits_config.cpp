#include "config/stages/logits_config.h"

#include "config/parts/shared_fields.h"

namespace lowbank {

CommandInfo LogitsConfig::info() const {
  return {.name = "logits",
          .purpose = "Run the model once over given token ids and save its output.",
          .example = "lowbank logits runs/demo/convert --ids ids.safetensors --out out.safetensors",
          .positionals = {"checkpoint"},
          .has_run_dir = false};
}

Fields LogitsConfig::stage_fields() const {
  return {
      checkpoint_field(&checkpoint),
      Field("ids", &ids,
            "safetensors file with `input_ids` [B, T] int64; optional `attention_mask`, "
            "`token_type_ids`")
          .input()
          .required(),
      Field("out", &out,
            "safetensors file for `logits` [B, T, V] or [B, C], or `last_hidden_state` [B, T, D]")
          .output()
          .required()};
}

}  // namespace lowbank
