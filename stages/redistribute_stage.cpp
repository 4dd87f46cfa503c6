#include "stages/redistribute_stage.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/error.h"
#include "core/log.h"
#include "stages/runtime_options.h"
#include "stages/training.h"
#include "train/importance.h"

namespace lowbank {
namespace {

constexpr std::pair<const char*, double> kTopShares[] = {
    {"top_05_share", 0.05}, {"top_10_share", 0.10}, {"top_20_share", 0.20}};

Metrics concentration(const RankImportance& importance, const std::string& measure) {
  Metrics shares;
  for (const auto& [name, rank_frac] : kTopShares) {
    shares[name] = mean_top_share(importance, measure, rank_frac);
  }
  return shares;
}

std::vector<double> concentration_curve(const RankImportance& importance,
                                        const std::string& measure) {
  std::vector<double> shares;
  for (int percent = 0; percent <= 100; ++percent) {
    shares.push_back(mean_top_share(importance, measure, percent / 100.0));
  }
  return shares;
}

void report_importance(const RankImportance& before, const RankImportance& after,
                       const std::vector<FactoredLinear>& linears, const std::string& measure,
                       Metrics& metrics) {
  metrics["importance_measure"] = measure;
  metrics["num_examples"] = after.num_examples;
  metrics["concentration"] = {{"before", concentration(before, measure)},
                              {"after", concentration(after, measure)}};
  std::vector<double> rank_fracs;
  for (int percent = 0; percent <= 100; ++percent) rank_fracs.push_back(percent / 100.0);
  metrics["concentration_curve"] = {{"rank_frac", rank_fracs},
                                    {"before", concentration_curve(before, measure)},
                                    {"after", concentration_curve(after, measure)}};
  Metrics layers = Metrics::array();
  std::size_t path_width = 0;
  for (const auto& [path, linear] : linears) path_width = std::max(path_width, path.size());
  print("{:{}}  rank  top 10 % hold: before  after", "layer", path_width);
  for (const auto& [path, linear] : linears) {
    Metrics layer = {{"path", path}, {"rank", linear->rank()}};
    for (const auto& [when, importance] : {std::pair{"before", &before}, {"after", &after}}) {
      for (const auto& [name, rank_frac] : kTopShares) {
        layer[when][name] = top_share(importance->layers.at(path).at(measure), rank_frac);
      }
    }
    print("{:{}}  {:4}  {:21.3f}  {:5.3f}", path, path_width, linear->rank(),
          layer["before"]["top_10_share"].get<double>(),
          layer["after"]["top_10_share"].get<double>());
    layers.push_back(std::move(layer));
  }
  metrics["layers"] = std::move(layers);
}

}  // namespace

void redistribute_stage(const RedistributeConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_causal_model(config.checkpoint, device, runtime.type);
  auto& model = *loaded.model;
  const auto tokenizer = open_train_tokenizer(loaded, config.data.context);
  const auto texts = open_train_texts(config.data, *tokenizer);
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
  report_importance(before, after, linears, config.importance, metrics);
  report_training(result, model, metrics);
  print_scores(result, config.data.valid);
  print("the most important 10 % of the ranks hold {:.3f} of the importance ({}), {:.3f} before",
        metrics["concentration"]["after"]["top_10_share"].get<double>(), config.importance,
        metrics["concentration"]["before"]["top_10_share"].get<double>());
}

}  // namespace lowbank
