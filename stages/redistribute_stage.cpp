#include "stages/redistribute_stage.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "config/results/importance_metrics.h"
#include "core/error.h"
#include "core/log.h"
#include "stages/runtime_options.h"
#include "stages/training.h"
#include "train/importance.h"

namespace lowbank {
namespace {

// `share_of`: the share of the importance that a share of the ranks holds.
template <class ShareOf>
TopShares top_shares(const ShareOf& share_of) {
  return {.top_05_share = share_of(0.05),
          .top_10_share = share_of(0.10),
          .top_20_share = share_of(0.20)};
}

TopShares mean_top_shares(const RankImportance& importance, const std::string& measure) {
  return top_shares(
      [&](double rank_frac) { return mean_top_share(importance, measure, rank_frac); });
}

TopShares layer_top_shares(const RankImportance& importance, const std::string& path,
                           const std::string& measure) {
  const auto& layer = importance.layers.at(path).at(measure);
  return top_shares([&](double rank_frac) { return top_share(layer, rank_frac); });
}

std::vector<double> concentration_curve(const RankImportance& importance,
                                        const std::string& measure) {
  std::vector<double> shares;
  for (int percent = 0; percent <= 100; ++percent) {
    shares.push_back(mean_top_share(importance, measure, percent / 100.0));
  }
  return shares;
}

ImportanceMetrics importance_metrics(const RankImportance& before, const RankImportance& after,
                                     const std::vector<FactoredLinear>& linears,
                                     const std::string& measure) {
  ImportanceMetrics metrics{.measure = measure,
                            .num_examples = after.num_examples,
                            .concentration = {.before = mean_top_shares(before, measure),
                                              .after = mean_top_shares(after, measure)}};
  for (int percent = 0; percent <= 100; ++percent) {
    metrics.curve.rank_frac.push_back(percent / 100.0);
  }
  metrics.curve.before = concentration_curve(before, measure);
  metrics.curve.after = concentration_curve(after, measure);
  for (const auto& [path, linear] : linears) {
    metrics.layers.push_back({.path = path,
                              .rank = linear->rank(),
                              .before = layer_top_shares(before, path, measure),
                              .after = layer_top_shares(after, path, measure)});
  }
  return metrics;
}

void print_layers(const std::vector<ImportanceMetrics::Layer>& layers) {
  std::size_t path_width = 0;
  for (const auto& layer : layers) path_width = std::max(path_width, layer.path.size());
  print("{:{}}  rank  top 10 % hold: before  after", "layer", path_width);
  for (const auto& layer : layers) {
    print("{:{}}  {:4}  {:21.3f}  {:5.3f}", layer.path, path_width, layer.rank.value().value_or(0),
          layer.before.top_10_share, layer.after.top_10_share);
  }
}

}  // namespace

void redistribute_stage(const RedistributeConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_causal_model(config.checkpoint, device, runtime.type);
  auto& model = *loaded.model;
  const auto tokenizer = open_train_tokenizer(loaded, config.data.context);
  const auto texts = open_train_texts(config.data, *tokenizer, config.train.eval_max_chunks);
  std::error_code error;
  if (std::filesystem::equivalent(loaded.folder, out->path(), error)) {
    throw ConfigError(
        fmt::format("out: {} is the checkpoint to be read; choose another folder", out->path()));
  }
  const auto linears = factored_linears(model);
  if (linears.empty()) {
    throw ConfigError(
        fmt::format("checkpoint: {} has no factored linear; `lowbank compress` makes "
                    "them",
                    loaded.folder));
  }
  const ResumePoint point(out->path(), config, config.resume);
  out->begin();
  const auto collect = [&] {
    return collect_importance(model, texts.train, config.importance_max_examples,
                              config.train.micro_batch_size);
  };
  // The importance before training. A resumed run collects it again, before the resume point
  // replaces the weights.
  const RankImportance before = collect();
  const auto key = RandomKey(static_cast<std::uint64_t>(config.common.seed)).derive("train");
  const auto result = run_training(model, next_token_set(texts, config.train, key), config.train,
                                   key, *out, point, /*save_at_end=*/true);
  const RankImportance after = collect();
  save_model(
      out->path(), loaded,
      {.stage = "redistribute", .settings_hash = point.settings_hash(), .version = version()});
  write_importance(out->path(), after);
  point.remove();
  ImportanceMetrics importance = importance_metrics(before, after, linears, config.importance);
  metrics = to_json(importance.fields());
  metrics.update(to_json(training_metrics(result, model).fields()));
  print_layers(importance.layers);
  print_scores(result, config.data.valid);
  print("the most important 10 % of the ranks hold {:.3f} of the importance ({}), {:.3f} before",
        importance.concentration.after.top_10_share, config.importance,
        importance.concentration.before.top_10_share);
}

}  // namespace lowbank
