#include "stages/finetune_stage.h"

#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/log.h"
#include "kernels/runtime.h"
#include "stages/training.h"

namespace lowbank {

void finetune_stage(const FinetuneConfig& config, RunDir* out, Metrics& metrics) {
  FinetuneConfig own = config;  // a list of fields points into a config that may be written
  const auto device = apply_runtime(config.common);
  const auto loaded = load_causal_model(config.checkpoint, device, compute_type(config.common));
  const auto tokenizer = open_train_tokenizer(loaded, config.data.context);
  const auto key = RandomKey(static_cast<std::uint64_t>(config.common.seed)).derive("train");
  const auto set = next_token_set(open_train_texts(config.data, *tokenizer), config.train, key);
  const ResumePoint point(out->path(), own, config.resume);
  out->begin();
  const auto result = run_training(*loaded.model, set, config.train, key, *out, point);
  save_model(out->path("checkpoint"), loaded,
             {.stage = "finetune", .settings_hash = point.settings_hash(), .version = version()});
  point.remove();
  report_training(result, *loaded.model, metrics);
  print_scores(result, config.data.valid);
  note("checkpoint: {}", out->path("checkpoint"));
}

}  // namespace lowbank
