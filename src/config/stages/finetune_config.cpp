#include "config/stages/finetune_config.h"

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo FinetuneConfig::info() const {
  return {.name = "finetune",
          .purpose = "Train a model on text or on labelled sentences.",
          .example =
              "lowbank finetune configs/recipes/finetune_shakespeare.json "
              "--set train.learning_rate=2e-4",
          .positionals = {"checkpoint"},
          .memory_keys = {"train.micro_batch_size", "data.context"}};
}

Fields FinetuneConfig::stage_fields() const {
  return {checkpoint_field(&checkpoint),
          Field("objective", &objective, "what is learned; auto: what the model's head is for")
              .one_of({"auto", "next_token", "masked_lm", "classification"}),
          Field("data", data.fields(), "training text; tables (TSV) for classification"),
          Field("table", table.fields(), "classification: where a table keeps what"),
          Field("train", train.fields(), "optimizer and schedule"),
          resume_field(&resume)};
}

void FinetuneConfig::validate() const {
  if (data.train.empty()) throw ConfigError("data.train is missing: the text to learn from");
  table.validate();
  train.validate();
  check_forward_size("train.micro_batch_size", train.micro_batch_size, "data.context",
                     data.context);
}

}  // namespace lowbank
