#include <algorithm>
#include <filesystem>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "report/page/markup.h"
#include "report/runs/json_node.h"
#include "report/runs/read_estimates.h"
#include "report/runs/report_data.h"

namespace lowbank::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// What cannot be looked at (no permission, a name that is too long) is reported by the read that
// follows, or as no run folder.
bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::string last_part(const std::string& path) {
  fs::path clean = fs::path(path).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  return clean.filename().string();
}

std::string parent_folder(const std::string& path) {
  fs::path clean = fs::absolute(path).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  return clean.parent_path().string();
}

// "/a/b/run/checkpoint/" and "run" from /a/b are the same checkpoint.
std::string run_of_checkpoint(const std::string& path) {
  fs::path clean = fs::absolute(path).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (clean.filename() == "checkpoint") clean = clean.parent_path();
  return clean.string();
}

// What makes two perplexities comparable.
std::string perplexity_protocol(const JsonNode& resolved) {
  std::string out;
  for (const char* key : {"context", "stride", "max_chars", "max_chunks"}) {
    out += fmt::format("{} {}; ", key, format_exact(resolved.number(key)));
  }
  return out + resolved.text("data");
}

void read_convert(const RunInfo& info, const JsonNode& resolved, const JsonNode& metrics,
                  ReportData& data) {
  const std::string source = last_part(resolved.text("src"));
  data.converts.push_back({.info = info,
                           .model = fs::path(source).stem().string(),
                           .num_params = metrics.number("num_params"),
                           .num_bytes = metrics.number("num_bytes")});
}

void read_evaluate(const RunInfo& info, const JsonNode& resolved, const JsonNode& metrics,
                   ReportData& data) {
  data.evaluations.push_back({.info = info,
                              .data = last_part(resolved.text("data")),
                              .perplexity = metrics.required_number("perplexity"),
                              .word_perplexity = metrics.number("word_perplexity"),
                              .byte_perplexity = metrics.number("byte_perplexity"),
                              .bits_per_byte = metrics.number("bits_per_byte"),
                              .num_predicted = metrics.number("num_predicted"),
                              .context = metrics.number("context"),
                              .tokens_per_second = metrics.number("tokens_per_second"),
                              .protocol = perplexity_protocol(resolved)});
}

Concentration read_concentration(const JsonNode& shares) {
  return {.top_05_share = shares.number("top_05_share"),
          .top_10_share = shares.number("top_10_share"),
          .top_20_share = shares.number("top_20_share")};
}

void read_training(const RunInfo& info, const JsonNode& metrics, ReportData& data) {
  TrainingRun run{.info = info,
                  .steps = metrics.number("steps"),
                  .num_tokens = metrics.number("num_tokens"),
                  .start_valid_perplexity = metrics.number("start_valid_perplexity"),
                  .valid_perplexity = metrics.number("valid_perplexity"),
                  .importance_measure = metrics.text("importance_measure")};
  const std::string path = info.path + "/metrics.jsonl";
  // A run of zero steps without held-out text has no line to write.
  const std::string text = exists(path) ? read_text(path) : std::string();
  std::size_t line_number = 0;
  for (const std::string_view line : split_lines(text)) {
    const std::string where = fmt::format("{}:{}", path, ++line_number);
    const Json value = parse_json(line, where);
    const JsonNode entry(value, where);
    if (entry.has("loss")) {
      run.loss.emplace_back(entry.required_number("step"), entry.number("loss"));
    }
    if (entry.has("valid_loss")) {
      run.valid_loss.emplace_back(entry.required_number("step"), entry.number("valid_loss"));
    }
  }
  if (const auto shares = metrics.object("concentration")) {
    if (const auto before = shares->object("before")) run.before = read_concentration(*before);
    if (const auto after = shares->object("after")) run.after = read_concentration(*after);
  }
  if (const auto curve = metrics.object("concentration_curve")) {
    run.rank_frac = curve->numbers("rank_frac");
    run.importance_before = curve->numbers("before");
    run.importance_after = curve->numbers("after");
    if (run.importance_before.size() != run.rank_frac.size() ||
        run.importance_after.size() != run.rank_frac.size()) {
      throw IoError(
          fmt::format("{}: rank_frac, before and after must be equally long; got {}, {}, "
                      "{}",
                      curve->where(), run.rank_frac.size(), run.importance_before.size(),
                      run.importance_after.size()));
    }
  }
  data.trainings.push_back(std::move(run));
}

void read_compress(const RunInfo& info, const JsonNode& resolved, const JsonNode& metrics,
                   ReportData& data) {
  CompressRun run{.info = info,
                  .method = metrics.text("method", resolved.text("method")),
                  .rank_policy = metrics.text("rank_policy", resolved.text("rank")),
                  .params_before = metrics.required_number("params_before"),
                  .params_after = metrics.required_number("params_after"),
                  .seconds = metrics.number("seconds")};
  for (const JsonNode& linear : metrics.objects("linears")) {
    if (!linear.flag("changed", true)) continue;
    run.linears.push_back({.path = linear.required_text("path"),
                           .kind = linear.text("kind"),
                           .out_features = linear.number("out"),
                           .in_features = linear.number("in"),
                           .rank = linear.number("rank"),
                           .break_even_rank = linear.number("break_even_rank"),
                           .params_before = linear.number("params_before"),
                           .params_after = linear.number("params_after"),
                           .relative_error = linear.number("relative_error")});
  }
  data.compressions.push_back(std::move(run));
}

void read_noisy(const RunInfo& info, const JsonNode& resolved, const JsonNode& metrics,
                ReportData& data) {
  NoisyRun run{.info = info,
               .clean_perplexity = metrics.number("clean_perplexity"),
               .quantised_perplexity = metrics.number("quantised_perplexity"),
               .protocol = perplexity_protocol(resolved)};
  auto noise = metrics.object("noise");
  if (!noise) noise = resolved.object("noise");
  if (noise) {
    run.noise_model = noise->text("model");
    run.encoding = noise->text("encoding");
    run.sigma = noise->number("sigma");
    run.cell_bits = noise->number("cell_bits");
  }
  for (const JsonNode& curve : metrics.objects("curves")) {
    NoiseCurve read{.importance = curve.required_text("importance")};
    for (const JsonNode& point : curve.objects("points")) {
      read.points.push_back({.slc_frac = point.required_number("slc_frac"),
                             .num_trials = point.number("num_trials"),
                             .num_diverged = point.number("num_diverged"),
                             .mean = point.number("mean"),
                             .ci95_low = point.number("ci95_low"),
                             .ci95_high = point.number("ci95_high")});
    }
    run.curves.push_back(std::move(read));
  }
  data.noisy.push_back(std::move(run));
}

// Runs over tables of calls or operators, and fits, have no rows of workloads.
bool is_estimate_table(const Json& metrics) {
  return metrics.contains("num_calls") || metrics.contains("num_operators") ||
         metrics.contains("fits");
}

RunInfo read_info(const std::string& path, const JsonNode& resolved) {
  const std::string file = path + "/run.json";
  if (!exists(file)) {
    throw IoError(path + ": the run has not finished (no run.json); run that stage again");
  }
  const Json value = read_json(file);
  const JsonNode run(value, file);
  RunInfo info{.path = repair_utf8(path),
               .name = repair_utf8(last_part(fs::absolute(path).string())),
               .stage = resolved.required_text("stage"),
               .checkpoint = resolved.text("checkpoint"),
               .date = run.text("date", "unknown date"),
               .seconds = run.number("seconds")};
  info.provenance = {.kind = run.text("provenance", "measured") == "modelled"
                                 ? Provenance::Kind::kModelled
                                 : Provenance::Kind::kMeasured,
                     .device = run.text("device", "unknown device"),
                     .date = info.date.substr(0, info.date.find('T'))};
  if (info.provenance.kind == Provenance::Kind::kModelled) {
    info.provenance.mode = resolved.text("mode", "unknown");
    info.provenance.source = "see the run folder";
  }
  return info;
}

void read_run(const std::string& path, ReportData& data) {
  const std::string resolved_file = path + "/resolved.json";
  if (!exists(resolved_file)) {
    throw IoError(path + (exists(path) ? ": is no run folder (it has no resolved.json); give "
                                         "the output folder of a Lowbank stage"
                                       : ": no such run folder"));
  }
  const Json resolved_value = read_json(resolved_file);
  const JsonNode resolved(resolved_value, resolved_file);
  const RunInfo info = read_info(path, resolved);
  const Json metrics_value = read_json(path + "/metrics.json");
  const JsonNode metrics(metrics_value, path + "/metrics.json");
  data.runs.push_back(info);
  if (info.stage == "convert") read_convert(info, resolved, metrics, data);
  if (info.stage == "evaluate") read_evaluate(info, resolved, metrics, data);
  if (info.stage == "finetune" || info.stage == "redistribute") read_training(info, metrics, data);
  if (info.stage == "compress") read_compress(info, resolved, metrics, data);
  if (info.stage == "noisy-infer") read_noisy(info, resolved, metrics, data);
  if (info.stage != "estimate" || is_estimate_table(metrics_value)) return;
  if (metrics.has("num_experiments")) {
    read_experiments(info, resolved, data);
  } else {
    read_estimate(info, data);
  }
}

// The finished runs in a folder of runs, oldest first; earlier reports are no input.
std::vector<std::string> runs_in_folder(const std::string& folder) {
  std::vector<std::tuple<std::string, std::string>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string path = entry.path().string();
    if (!exists(path + "/resolved.json")) continue;
    const Json value = read_json(path + "/resolved.json");
    if (JsonNode(value, path + "/resolved.json").text("stage") == "report") continue;
    if (!exists(path + "/run.json")) {
      warn("{}: left out, the run has not finished", path);
      continue;
    }
    const Json run = read_json(path + "/run.json");
    found.emplace_back(JsonNode(run, path + "/run.json").text("date"), path);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> paths;
  for (const auto& [date, path] : found) paths.push_back(path);
  return paths;
}

}  // namespace

const RunInfo* ReportData::find_checkpoint(const RunInfo& asking) const {
  return find_run(asking.checkpoint, asking);
}

const RunInfo* ReportData::find_run(const std::string& path, const RunInfo& asking) const {
  if (path.empty()) return nullptr;
  const std::string wanted = run_of_checkpoint(path);
  for (const RunInfo& run : runs) {
    if (run_of_checkpoint(run.path) == wanted) return &run;
  }
  const std::string moved = parent_folder(asking.path) + "/" + last_part(wanted);
  for (const RunInfo& run : runs) {
    if (run_of_checkpoint(run.path) == moved) return &run;
  }
  return nullptr;
}

ReportData read_runs(const std::vector<std::string>& paths) {
  ReportData data;
  for (const std::string& path : paths) {
    if (is_folder(path) && !exists(path + "/resolved.json")) {
      const std::vector<std::string> inner = runs_in_folder(path);
      if (!inner.empty()) {
        for (const std::string& each : inner) read_run(each, data);
        continue;
      }
    }
    read_run(path, data);
  }
  return data;
}

}  // namespace lowbank::report
