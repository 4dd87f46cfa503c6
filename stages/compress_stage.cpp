#include "stages/compress_stage.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "compress/compress_model.h"
#include "config/fingerprint.h"
#include "config/results/compress_metrics.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "stages/runtime_options.h"

namespace lowbank {
namespace {

void print_linears(const CompressReport& report) {
  std::size_t width = 4;
  for (const auto& linear : report.linears) width = std::max(width, linear.path.size());
  lowbank::print("{:<{}}  {:<5} {:>6} x {:<6} {:>6} {:>10} {:>12} {:>12} {:>9}", "path", width,
                 "kind", "out", "in", "rank", "break-even", "params", "before", "error");
  for (const auto& linear : report.linears) {
    lowbank::print("{:<{}}  {:<5} {:>6} x {:<6} {:>6} {:>10} {:>12} {:>12} {:>9}", linear.path,
                   width, linear.kind, linear.out_features, linear.in_features,
                   linear.rank == 0 ? "full" : fmt::format("{}", linear.rank),
                   linear.break_even_rank, group_digits(linear.params_after),
                   group_digits(linear.params_before),
                   linear.changed ? fmt::format("{:.3g}", linear.relative_error) : "as it was");
  }
}

void warn_of_growth(const CompressReport& report) {
  for (const auto& linear : report.linears) {
    if (!linear.changed || linear.rank <= linear.break_even_rank) continue;
    warn("{}: rank {} holds more parameters than the dense layer; it saves below rank {}",
         linear.path, linear.rank, linear.break_even_rank + 1);
  }
}

CompressMetrics::Linear linear_metrics(const LinearChange& linear) {
  return {.path = linear.path,
          .kind = linear.kind,
          .changed = linear.changed,
          .out_features = linear.out_features,
          .in_features = linear.in_features,
          .rank = linear.rank,
          .break_even_rank = linear.break_even_rank,
          .params_before = linear.params_before,
          .params_after = linear.params_after,
          .relative_error = linear.relative_error};
}

// What --dtype asks for; `stored` must live as long.
std::function<c10::ScalarType(const std::string&)> type_to_write(const std::string& dtype,
                                                                 const StoredTypes& stored) {
  if (dtype == "keep") return [&](const std::string& name) { return stored.of(name); };
  const auto type = choose<c10::ScalarType>(
      dtype, {{"f32", c10::kFloat}, {"bf16", c10::kBFloat16}, {"f16", c10::kHalf}});
  return [type](const std::string&) { return type; };
}

}  // namespace

void compress_stage(const CompressConfig& config, RunDir* out, Metrics& metrics) {
  const auto device = apply_runtime(runtime_options(config.common));
  const LinearChoice choice(config.modules);
  auto loaded = load_model(config.checkpoint, device);
  const StoredTypes stored(config.checkpoint);
  LanguageModel& model = *loaded.model;
  const auto params_before = count_parameters(model);

  const auto start = std::chrono::steady_clock::now();
  CompressReport report;
  if (config.to == "dense") {
    report = make_linears_dense(model.slots(), choice);
  } else {
    std::int64_t num_linears = 0;
    for (const auto& slot : model.slots()) num_linears += choice(slot.path(), slot.role()) ? 1 : 0;
    ProgressBar bar("compress", num_linears, "linear");
    report = factor_linears(model.slots(), choice, RankPolicy(config.rank),
                            [&](std::int64_t done) { bar.update(done); });
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  out->begin();
  save_model(out->path(), loaded,
             {.stage = "compress",
              .settings_hash = stage_fingerprint(config, Metrics::object()).value("settings", ""),
              .version = version()},
             type_to_write(config.dtype, stored));
  const StoredTypes written(out->path());
  print_linears(report);
  warn_of_growth(report);
  const auto params_after = count_parameters(model);
  lowbank::print("{} -> {} parameters ({:.3f} x), {} -> {}{}", group_digits(params_before),
                 group_digits(params_after),
                 static_cast<double>(params_after) / static_cast<double>(params_before),
                 format_bytes(stored.num_bytes()), format_bytes(written.num_bytes()),
                 config.dtype == "keep" ? "" : " as " + config.dtype);
  CompressMetrics figures{.method = config.method,
                          .rank_policy = config.to == "dense" ? "dense" : config.rank,
                          .params_before = params_before,
                          .params_after = params_after,
                          .bytes_before = static_cast<std::int64_t>(stored.num_bytes()),
                          .bytes_after = static_cast<std::int64_t>(written.num_bytes()),
                          .seconds = seconds.count(),
                          .num_svds = report.num_svds};
  for (const auto& linear : report.linears) figures.linears.push_back(linear_metrics(linear));
  metrics = to_json(figures.fields());
}

}  // namespace lowbank
