#include <algorithm>
#include <cmath>
#include <filesystem>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/text.h"
#include "report/page/markup.h"
#include "report/page/number_format.h"
#include "report/runs/read_estimates.h"
#include "report/runs/report_data.h"

namespace lowbank::report {
namespace {

namespace fs = std::filesystem;

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
std::string perplexity_protocol(const JsonReader& resolved) {
  std::string out;
  for (const char* key : {"context", "stride", "max_chars", "max_chunks"}) {
    out += fmt::format("{} {}; ", key, format_exact(resolved.number(key, kNotReported)));
  }
  return out + resolved.text("data", "");
}

void read_convert(const RunInfo& info, const JsonReader& resolved, const JsonReader& metrics,
                  ReportData& data) {
  ConvertRun run;
  run.info = info;
  run.model = fs::path(last_part(resolved.text("src", ""))).stem().string();
  read_fields(metrics, run.fields());
  data.converts.push_back(std::move(run));
}

void read_evaluate(const RunInfo& info, const JsonReader& resolved, const JsonReader& metrics,
                   ReportData& data) {
  EvaluateRun run;
  run.info = info;
  run.data = last_part(resolved.text("data", ""));
  run.protocol = perplexity_protocol(resolved);
  read_fields(metrics, run.fields());
  data.evaluations.push_back(std::move(run));
}

void read_training(const RunInfo& info, const JsonReader& metrics, ReportData& data) {
  TrainingRun run;
  run.info = info;
  run.held_out = {{.name = kPerplexityScore}};
  read_fields(metrics, run.fields());
  run.start_valid_perplexity = run.held_out.front().start;
  run.valid_perplexity = run.held_out.front().end;
  read_fields(metrics, run.importance.fields());
  const std::string path = info.path + "/metrics.jsonl";
  // A run of zero steps without held-out text has no line to write.
  const std::string text = exists(path) ? read_text(path) : std::string();
  std::size_t line_number = 0;
  for (const std::string_view line : split_lines(text)) {
    const std::string where = fmt::format("{}:{}", path, ++line_number);
    TrainingLine entry{.held_out = {{kLossScore, kNotReported}}};
    read_fields(JsonReader(parse_json(line, where), where, kProgramFile), entry.fields());
    const double valid_loss = entry.held_out.front().second;
    if (!std::isnan(entry.loss)) run.loss.emplace_back(entry.step, entry.loss);
    if (!std::isnan(valid_loss)) run.valid_loss.emplace_back(entry.step, valid_loss);
  }
  const ImportanceMetrics::Curve& curve = run.importance.curve;
  if (curve.before.size() != curve.rank_frac.size() ||
      curve.after.size() != curve.rank_frac.size()) {
    metrics.at("concentration_curve")
        .fail(fmt::format("rank_frac, before and after must be equally long; got {}, {}, {}",
                          curve.rank_frac.size(), curve.before.size(), curve.after.size()));
  }
  data.trainings.push_back(std::move(run));
}

void read_compress(const RunInfo& info, const JsonReader& resolved, const JsonReader& metrics,
                   ReportData& data) {
  CompressRun run;
  run.info = info;
  run.method = resolved.text("method", "");
  run.rank_policy = resolved.text("rank", "");
  read_fields(metrics, run.fields());
  std::erase_if(run.linears, [](const CompressMetrics::Linear& linear) { return !linear.changed; });
  data.compressions.push_back(std::move(run));
}

void read_noisy(const RunInfo& info, const JsonReader& resolved, const JsonReader& metrics,
                ReportData& data) {
  NoisyRun run;
  run.info = info;
  run.protocol = perplexity_protocol(resolved);
  read_fields(resolved.group("noise"), run.noise.fields());
  read_fields(metrics, run.fields());
  data.noisy.push_back(std::move(run));
}

// Runs over tables of calls or operators, and fits, have no rows of workloads.
bool is_estimate_table(const JsonReader& metrics) {
  return metrics.has(kNumPimCallsKey) || metrics.has(kNumOperatorsKey) || metrics.has(kGpuFitsKey);
}

JsonReader read_file(const std::string& path) {
  JsonReader file(read_json(path), path, kProgramFile);
  file.check_object();
  return file;
}

RunInfo read_info(const std::string& path, const JsonReader& resolved) {
  const std::string file = path + "/run.json";
  if (!exists(file)) {
    throw IoError(path + ": the run has not finished (no run.json); run that stage again");
  }
  const JsonReader run = read_file(file);
  RunInfo info{.path = repair_utf8(path),
               .name = repair_utf8(last_part(fs::absolute(path).string())),
               .stage = resolved.nonempty_text("stage"),
               .checkpoint = resolved.text("checkpoint", ""),
               .date = run.text("date", "unknown date"),
               .seconds = run.number("seconds", kNotReported)};
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
  const JsonReader resolved = read_file(resolved_file);
  const RunInfo info = read_info(path, resolved);
  const JsonReader metrics = read_file(path + "/metrics.json");
  data.runs.push_back(info);
  if (info.stage == "convert") read_convert(info, resolved, metrics, data);
  if (info.stage == "evaluate") read_evaluate(info, resolved, metrics, data);
  if (info.stage == "finetune" || info.stage == "redistribute") read_training(info, metrics, data);
  if (info.stage == "compress") read_compress(info, resolved, metrics, data);
  if (info.stage == "noisy-infer") read_noisy(info, resolved, metrics, data);
  if (info.stage != "estimate" || is_estimate_table(metrics)) return;
  if (metrics.has(kNumExperimentsKey)) {
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
    if (read_file(path + "/resolved.json").text("stage", "") == "report") continue;
    if (!exists(path + "/run.json")) {
      warn("{}: left out, the run has not finished", path);
      continue;
    }
    found.emplace_back(read_file(path + "/run.json").text("date", ""), path);
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
