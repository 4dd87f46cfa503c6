#include "config/stages/generate_config.h"

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo GenerateConfig::info() const {
  return {.name = "generate",
          .purpose = "Continue a prompt.",
          .example = "lowbank generate runs/demo/convert --prompt \"Once upon\" --greedy",
          .positionals = {"checkpoint"},
          .memory_keys = {"max_new_tokens"}};
}

Fields GenerateConfig::stage_fields() const {
  return {
      checkpoint_field(&checkpoint),
      Field("prompt", &prompt, "text to continue"),
      Field("ids", &ids, "JSON file with one array of token ids, in place of a prompt").input(),
      Field("max_new_tokens", &max_new_tokens, "tokens to add")
          .at_least(0)
          .at_most(kMaxContext)
          .unit("tokens"),
      Field("temperature", &temperature, "of the softmax that is sampled").above(0).at_most(1000),
      Field("top_p", &top_p, "sample from the most likely tokens of this total probability")
          .above(0)
          .at_most(1),
      Field("top_k", &top_k, "sample from this many most likely tokens; 0 = all")
          .at_least(0)
          .at_most(kMaxCount),
      Field("greedy", &greedy, "always the most likely token")};
}

void GenerateConfig::validate() const {
  if (!ids.empty() && !prompt.empty()) {
    throw ConfigError("prompt and ids: give one of them, not both");
  }
}

}  // namespace lowbank
