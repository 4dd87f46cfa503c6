#include "config/stages/noisy_infer_config.h"

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo NoisyInferConfig::info() const {
  return {.name = "noisy-infer",
          .purpose = "Evaluate a factored model whose weights sit in noisy memory cells.",
          .example = "lowbank noisy-infer hardened --data text.txt --slc-frac 0,0.1,1 --trials 8",
          .positionals = {"checkpoint"},
          .memory_keys = {"batch_size", "context"}};
}

Fields NoisyInferConfig::stage_fields() const {
  Fields out = {checkpoint_field(&checkpoint),
                Field("noise", noise.fields(), "cells and noise"),
                Field("slc_frac", &slc_frac, "parts of the ranks kept in error-free SLC cells")
                    .at_least(0)
                    .at_most(1),
                Field("importance", &importance, "which ranks are protected; one curve each")
                    .one_of({"abs_grad", "fisher", "signed", "magnitude", "rank_order", "random"}),
                Field("trials", &trials, "noise draws per point").at_least(1).at_most(1e6),
                Field("task", &task, "what to measure").one_of({"perplexity"}),
                resume_field(&resume)};
  append(out, perplexity.fields());
  return out;
}

void NoisyInferConfig::validate() const {
  noise.validate();
  perplexity.validate();
  if (slc_frac.empty()) throw ConfigError("slc_frac: give at least one value in [0, 1]");
  if (importance.empty()) throw ConfigError("importance: give at least one name");
}

}  // namespace lowbank
