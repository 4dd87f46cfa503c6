#include "config/stages/evaluate_config.h"

#include <nlohmann/json.hpp>

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

CommandInfo EvaluateConfig::info() const {
  return {.name = "evaluate",
          .purpose = "Measure how well a model predicts.",
          .example = "lowbank evaluate runs/demo/convert --task perplexity --data text.txt",
          .positionals = {"checkpoint"},
          .memory_keys = task == "perplexity" ? std::vector<std::string>{"batch_size", "context"}
                                              : std::vector<std::string>{}};
}

Fields EvaluateConfig::stage_fields() const {
  Fields out = {
      checkpoint_field(&checkpoint),
      Field("task", &task, "what to measure").one_of({"perplexity", "sts-b"}),
      Field(
          "pooling", &pooling,
          "sts-b: how a sentence becomes one vector; auto: what the files of sentence-transformers "
          "say, else mean")
          .one_of({"auto", "mean", "cls", "max"}),
      Field("limit", &limit, "sts-b: use this many pairs, from the first; 0 = all")
          .at_least(0)
          .at_most(kMaxCount)};
  append(out, perplexity.fields());
  return out;
}

void EvaluateConfig::validate() const {
  if (task == "perplexity") {
    if (limit != 0) throw ConfigError("limit: is for task sts-b; perplexity has max_chunks");
    return perplexity.validate();
  }
  if (perplexity.data.empty()) {
    throw ConfigError("data is missing: --data DIR names the folder with STS-B's dev.tsv");
  }
  // Another value than the default would have no effect.
  PerplexityConfig defaults;
  defaults.data = perplexity.data;
  const auto given = to_json(perplexity.fields()), unused = to_json(defaults.fields());
  for (const auto& [key, value] : given.items()) {
    if (value != unused[key]) throw ConfigError(key + ": is for task perplexity, not for " + task);
  }
}

}  // namespace lowbank
