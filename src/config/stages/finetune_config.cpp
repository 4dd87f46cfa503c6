#include "config/stages/finetune_config.h"

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo FinetuneConfig::info() const {
  return {.name = "finetune",
          .purpose = "Train a model on text.",
          .example =
              "lowbank finetune configs/recipes/finetune_shakespeare.json "
              "--set train.learning_rate=2e-4",
          .positionals = {"checkpoint"}};
}

Fields FinetuneConfig::stage_fields() const {
  return {checkpoint_field(&checkpoint), Field("data", data.fields(), "training text"),
          Field("train", train.fields(), "optimizer and schedule"), resume_field(&resume)};
}

void FinetuneConfig::validate() const {
  if (data.train.empty()) throw ConfigError("data.train is missing: the text to learn from");
  train.validate();
}

}  // namespace lowbank
