#include "config/stages/redistribute_config.h"

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo RedistributeConfig::info() const {
  return {.name = "redistribute",
          .purpose = "Fine-tune a factored model and find out which ranks matter.",
          .example = "lowbank redistribute small hardened --set data.train=text.txt",
          .positionals = {"checkpoint", "out"},
          .memory_keys = {"train.micro_batch_size", "data.context"}};
}

Fields RedistributeConfig::stage_fields() const {
  return {checkpoint_field(&checkpoint),
          Field("data", data.fields(), "training text"),
          Field("train", train.fields(), "optimizer and schedule"),
          Field("importance", &importance, "measure whose concentration is shown")
              .one_of({"abs_grad", "fisher", "signed", "magnitude", "rank_order"}),
          Field("importance_max_examples", &importance_max_examples,
                "examples for the importance; 0 = a whole pass over data.train")
              .at_least(0)
              .at_most(kMaxCount),
          resume_field(&resume)};
}

void RedistributeConfig::validate() const {
  if (data.train.empty()) throw ConfigError("data.train is missing: the text to learn from");
  train.validate();
  check_forward_size("train.micro_batch_size", train.micro_batch_size, "data.context",
                     data.context);
}

}  // namespace lowbank
