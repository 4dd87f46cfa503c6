#include <algorithm>
#include <cmath>
#include <filesystem>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "report/markup.h"
#include "report/report_data.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// A JSON object of a file, with the path that errors name.
class Node {
 public:
  Node(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {
    if (!value_->is_object()) throw IoError(where_ + ": must be a JSON object");
  }

  bool has(const std::string& key) const {
    const auto found = value_->find(key);
    return found != value_->end() && !found->is_null();
  }

  // kNotReported where the key is missing or null.
  double number(const std::string& key) const {
    if (!has(key)) return kNotReported;
    return as_number(value_->at(key), key);
  }

  double required_number(const std::string& key) const {
    const double value = number(key);
    if (!std::isfinite(value)) throw IoError(fmt::format("{}: key '{}' is missing", where_, key));
    return value;
  }

  std::string text(const std::string& key, const std::string& fallback = "") const {
    if (!has(key)) return fallback;
    if (!value_->at(key).is_string()) {
      throw IoError(fmt::format("{}: key '{}' must be a string", where_, key));
    }
    return value_->at(key).get<std::string>();
  }

  std::string required_text(const std::string& key) const {
    const std::string value = text(key);
    if (value.empty()) throw IoError(fmt::format("{}: key '{}' is missing", where_, key));
    return value;
  }

  bool flag(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!value_->at(key).is_boolean()) {
      throw IoError(fmt::format("{}: key '{}' must be true or false", where_, key));
    }
    return value_->at(key).get<bool>();
  }

  // Nothing where the key is missing.
  std::optional<Node> object(const std::string& key) const {
    if (!has(key)) return std::nullopt;
    return Node(value_->at(key), fmt::format("{}: {}", where_, key));
  }

  // Empty where the key is missing.
  std::vector<Node> objects(const std::string& key) const {
    std::vector<Node> out;
    for (const Json& item : array(key)) {
      out.emplace_back(item, fmt::format("{}: {}[{}]", where_, key, out.size()));
    }
    return out;
  }

  std::vector<double> numbers(const std::string& key) const {
    std::vector<double> out;
    for (const Json& item : array(key)) {
      out.push_back(item.is_null() ? kNotReported : as_number(item, key));
    }
    return out;
  }

  std::vector<std::pair<std::string, double>> named_numbers(const std::string& key) const {
    std::vector<std::pair<std::string, double>> out;
    if (!has(key)) return out;
    const Node inner(value_->at(key), fmt::format("{}: {}", where_, key));
    for (const auto& [name, item] : inner.value_->items())
      out.emplace_back(name, inner.number(name));
    return out;
  }

  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> out;
    for (const Json& item : array(key)) {
      if (!item.is_string())
        throw IoError(fmt::format("{}: key '{}' must hold strings", where_, key));
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  const std::string& where() const { return where_; }

 private:
  double as_number(const Json& value, const std::string& key) const {
    if (!value.is_number()) {
      throw IoError(fmt::format("{}: key '{}' must hold a number", where_, key));
    }
    return value.get<double>();
  }

  const Json& array(const std::string& key) const {
    static const Json kNone = Json::array();
    if (!has(key)) return kNone;
    if (!value_->at(key).is_array()) {
      throw IoError(fmt::format("{}: key '{}' must be an array", where_, key));
    }
    return value_->at(key);
  }

  const Json* value_;
  std::string where_;
};

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
std::string perplexity_protocol(const Node& resolved) {
  std::string out;
  for (const char* key : {"context", "stride", "max_chars", "max_chunks"}) {
    out += fmt::format("{} {}; ", key, format_exact(resolved.number(key)));
  }
  return out + resolved.text("data");
}

void read_convert(const RunInfo& info, const Node& resolved, const Node& metrics,
                  ReportData& data) {
  const std::string source = last_part(resolved.text("src"));
  data.converts.push_back({.info = info,
                           .model = fs::path(source).stem().string(),
                           .num_params = metrics.number("num_params"),
                           .num_bytes = metrics.number("num_bytes")});
}

void read_evaluate(const RunInfo& info, const Node& resolved, const Node& metrics,
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

Concentration read_concentration(const Node& shares) {
  return {.top_05_share = shares.number("top_05_share"),
          .top_10_share = shares.number("top_10_share"),
          .top_20_share = shares.number("top_20_share")};
}

void read_training(const RunInfo& info, const Node& metrics, ReportData& data) {
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
    const Node entry(value, where);
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

void read_compress(const RunInfo& info, const Node& resolved, const Node& metrics,
                   ReportData& data) {
  CompressRun run{.info = info,
                  .method = metrics.text("method", resolved.text("method")),
                  .rank_policy = metrics.text("rank_policy", resolved.text("rank")),
                  .params_before = metrics.required_number("params_before"),
                  .params_after = metrics.required_number("params_after"),
                  .seconds = metrics.number("seconds")};
  for (const Node& linear : metrics.objects("linears")) {
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

void read_noisy(const RunInfo& info, const Node& resolved, const Node& metrics, ReportData& data) {
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
  for (const Node& curve : metrics.objects("curves")) {
    NoiseCurve read{.importance = curve.required_text("importance")};
    for (const Node& point : curve.objects("points")) {
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

double sum_of(const ExperimentRow::Categories& categories) {
  double sum = 0;
  for (const auto& [name, value] : categories) sum += value;
  return sum;
}

// Runs over tables of calls or operators, and fits, have no rows of workloads.
bool is_estimate_table(const Json& metrics) {
  return metrics.contains("num_calls") || metrics.contains("num_operators") ||
         metrics.contains("fits");
}

void read_experiments(const RunInfo& info, const Node& resolved, ReportData& data) {
  ExperimentsRun run{.info = info,
                     .mode = resolved.text("mode", "unknown"),
                     .corrections = resolved.texts("correct")};
  run.provenance = {.kind = Provenance::Kind::kModelled, .mode = run.mode, .source = "configs/pim"};
  for (const std::string& name : run.corrections) run.provenance.mode += " + " + name;
  const std::string path = info.path + "/experiments.jsonl";
  const std::string text = read_text(path);
  std::size_t line_number = 0;
  for (const std::string_view line : split_lines(text)) {
    const std::string where = fmt::format("{}:{}", path, ++line_number);
    const Json value = parse_json(line, where);
    const Node entry(value, where);
    ExperimentRow row{.model = entry.required_text("model"),
                      .system = entry.required_text("system"),
                      .gpu = entry.required_text("gpu"),
                      .batch_size = entry.required_number("batch_size"),
                      .num_gpus = entry.required_number("num_gpus"),
                      .input_tokens = entry.required_number("input_tokens"),
                      .output_tokens = entry.required_number("output_tokens"),
                      .time_s = entry.named_numbers("time_s"),
                      .memory_energy_pj = entry.named_numbers("memory_energy_pj"),
                      .compute_energy_pj = entry.named_numbers("compute_energy_pj")};
    if (const auto error = entry.object("gpu_time_error")) {
      row.gpu_time_error_median_frac = error->number("median_frac");
      row.gpu_time_error_p90_frac = error->number("p90_frac");
    }
    if (!(row.total_time_s() > 0) || !(row.total_energy_pj() > 0)) {
      throw IoError(where + ": times and energies must be > 0");
    }
    run.rows.push_back(std::move(row));
  }
  if (run.rows.empty()) throw IoError(path + ": holds no experiment");
  data.experiments.push_back(std::move(run));
}

// Entries of time and energy stand in pairs.
template <class ModelledBy>
void read_crossings(const Node& root, const char* key, const ModelledBy& modelled_by,
                    EstimateRun& run) {
  for (const Node& entry : root.objects(key)) {
    const bool is_energy = entry.required_text("metric") == "energy";
    if (is_energy && !run.crossings.empty()) {
      run.crossings.back().less_energy = entry.required_text("better");
      continue;
    }
    CostCrossing crossing{.workload = entry.required_text("workload"),
                          .phase = entry.required_text("phase"),
                          .op = entry.text("operator"),
                          .system = entry.required_text("system"),
                          .versus = entry.required_text("versus"),
                          .axis = entry.required_text("axis"),
                          .from = entry.required_number("from"),
                          .to = entry.required_number("to"),
                          .less_time = entry.required_text("better")};
    crossing.provenance = modelled_by(crossing.system);
    run.crossings.push_back(std::move(crossing));
  }
}

void read_estimate(const RunInfo& info, ReportData& data) {
  EstimateRun run{.info = info};
  const std::string path = info.path + "/estimate.json";
  const Json value = read_json(path);
  const Node root(value, path);
  run.mode = root.text("mode", "unknown");
  run.slc_frac = root.number("slc_frac");
  for (const Node& workload : root.objects("workloads")) {
    const double num_factored = workload.number("num_factored_linears");
    run.workloads.push_back({.name = workload.required_text("name"),
                             .file = workload.text("file"),
                             .num_params = workload.number("num_params"),
                             .is_dense = !(num_factored > 0),
                             .factored_size_frac = workload.number("factored_size_frac")});
  }
  std::map<std::string, std::string> files;
  for (const Node& system : root.objects("systems")) {
    const std::string name = system.required_text("name");
    files[name] = system.text("file", name);
    for (const std::string& note : system.texts("notes")) {
      const auto same = std::find_if(run.notes.begin(), run.notes.end(),
                                     [&](const auto& each) { return each.first == note; });
      if (same == run.notes.end()) {
        run.notes.push_back({note, {name}});
      } else {
        same->second.push_back(name);
      }
    }
    for (const Node& constant : system.objects("constants")) {
      run.constants.push_back({.system = name,
                               .key = constant.required_text("key"),
                               .value = constant.number("value"),
                               .unit = constant.text("unit"),
                               .source = constant.text("source"),
                               .uncertain = constant.text("uncertain"),
                               .provenance = {.kind = Provenance::Kind::kModelled,
                                              .mode = root.text("mode", "unknown"),
                                              .source = files[name]}});
    }
  }
  for (const Node& row : root.objects("rows")) {
    CostRow cost{.workload = row.required_text("workload"),
                 .system = row.required_text("system"),
                 .phase = row.required_text("phase"),
                 .batch = row.number("batch"),
                 .context = row.number("context"),
                 .output_tokens = row.number("output_tokens"),
                 .tokens = row.required_number("tokens"),
                 .latency_ns = row.number("latency_ns"),
                 .time_to_first_token_s = row.number("time_to_first_token_s"),
                 .time_per_output_token_s = row.number("time_per_output_token_s"),
                 .tokens_per_s = row.number("tokens_per_s"),
                 .energy_per_token_pj = row.number("energy_per_token_pj"),
                 .area_mm2 = row.number("area_mm2"),
                 .num_chips = row.number("num_chips"),
                 .pipeline_period_ns = row.number("pipeline_period_ns"),
                 .energy_by_component_pj = row.named_numbers("energy_by_component_pj")};
    if (!(cost.tokens > 0)) throw IoError(row.where() + ": key 'tokens' must be > 0");
    const auto file = files.find(cost.system);
    cost.provenance = {.kind = Provenance::Kind::kModelled,
                       .mode = row.text("mode", root.text("mode", "unknown")),
                       .source = file == files.end() ? cost.system : file->second};
    run.sweep.push_back(std::move(cost));
  }
  // Tables and bars compare systems at one batch and context, the first of each workload.
  for (const CostRow& row : run.sweep) {
    const auto first = std::find_if(run.sweep.begin(), run.sweep.end(), [&](const CostRow& each) {
      return each.workload == row.workload;
    });
    if (row.has_size_of(*first)) run.rows.push_back(row);
  }
  if (run.rows.size() == run.sweep.size()) run.sweep.clear();
  const auto modelled_by = [&](const std::string& system) {
    const auto file = files.find(system);
    return Provenance{.kind = Provenance::Kind::kModelled,
                      .mode = run.mode,
                      .source = file == files.end() ? system : file->second};
  };
  read_crossings(root, "crossovers", modelled_by, run);
  read_crossings(root, "break_even", modelled_by, run);
  for (const Node& entry : root.objects("sensitivity")) {
    CostSensitivity result{.workload = entry.required_text("workload"),
                           .phase = entry.required_text("phase"),
                           .system = entry.required_text("system"),
                           .part = entry.required_number("part")};
    result.provenance = modelled_by(result.system);
    for (const Node& constant : entry.objects("constants")) {
      result.effects.push_back({.key = constant.required_text("constant"),
                                .unit = constant.text("unit"),
                                .value = constant.number("value"),
                                .time_at_low = constant.required_number("time_at_low"),
                                .time_at_high = constant.required_number("time_at_high"),
                                .energy_at_low = constant.number("energy_at_low"),
                                .energy_at_high = constant.number("energy_at_high")});
    }
    run.sensitivities.push_back(std::move(result));
  }
  data.estimates.push_back(std::move(run));
}

RunInfo read_info(const std::string& path, const Node& resolved) {
  const std::string file = path + "/run.json";
  if (!exists(file)) {
    throw IoError(path + ": the run has not finished (no run.json); run that stage again");
  }
  const Json value = read_json(file);
  const Node run(value, file);
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
  const Node resolved(resolved_value, resolved_file);
  const RunInfo info = read_info(path, resolved);
  const Json metrics_value = read_json(path + "/metrics.json");
  const Node metrics(metrics_value, path + "/metrics.json");
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
    if (Node(value, path + "/resolved.json").text("stage") == "report") continue;
    if (!exists(path + "/run.json")) {
      warn("{}: left out, the run has not finished", path);
      continue;
    }
    const Json run = read_json(path + "/run.json");
    found.emplace_back(Node(run, path + "/run.json").text("date"), path);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> paths;
  for (const auto& [date, path] : found) paths.push_back(path);
  return paths;
}

}  // namespace

bool CostRow::has_size_of(const CostRow& other) const {
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  return same(batch, other.batch) && same(context, other.context);
}

const CostWorkload* EstimateRun::find_workload(const std::string& name) const {
  const auto found = std::find_if(workloads.begin(), workloads.end(),
                                  [&](const CostWorkload& each) { return each.name == name; });
  return found == workloads.end() ? nullptr : &*found;
}

const CostRow* EstimateRun::dense_row(const CostRow& row) const {
  for (const CostRow& other : rows) {
    const CostWorkload* const workload = find_workload(other.workload);
    if (workload != nullptr && workload->is_dense && other.system == row.system &&
        other.phase == row.phase) {
      return &other;
    }
  }
  return nullptr;
}

double ExperimentRow::total_time_s() const { return sum_of(time_s); }

double ExperimentRow::total_energy_pj() const {
  return sum_of(memory_energy_pj) + sum_of(compute_energy_pj);
}

double ExperimentRow::tokens_per_s() const {
  return batch_size * (output_tokens - 1) / total_time_s();
}

bool ExperimentRow::is_same_task(const ExperimentRow& other) const {
  return model == other.model && gpu == other.gpu && batch_size == other.batch_size &&
         num_gpus == other.num_gpus && input_tokens == other.input_tokens &&
         output_tokens == other.output_tokens;
}

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

}  // namespace lowbank
