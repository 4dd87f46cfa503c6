#include "stages/finetune_stage.h"

#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/log.h"
#include "stages/runtime_options.h"
#include "train/train_inputs.h"
#include "train/trainer.h"

namespace lowbank {

void finetune_stage(const FinetuneConfig& config, RunDir* out, Metrics& metrics) {
  auto inputs = open_train_inputs(config.checkpoint, config.data, runtime_options(config.common));
  const ResumePoint point(out->path(), config, config.resume);
  out->begin();
  const RandomKey key(static_cast<std::uint64_t>(config.common.seed));
  auto& model = *inputs.loaded.model;
  const auto result = fit(model, inputs.train, inputs.valid ? &*inputs.valid : nullptr,
                          config.train, key.derive("train"), *out, point);
  save_model(out->path("checkpoint"), inputs.loaded,
             {.stage = "finetune", .settings_hash = point.settings_hash(), .version = version()});
  point.remove();
  report_training(result, model, metrics);
  if (metrics.contains("valid_perplexity")) {
    print("perplexity on {}: {:.2f} before, {:.2f} after {} steps", config.data.valid,
          metrics["start_valid_perplexity"].get<double>(),
          metrics["valid_perplexity"].get<double>(), result.progress.step);
  }
  note("checkpoint: {}", out->path("checkpoint"));
}

}  // namespace lowbank
