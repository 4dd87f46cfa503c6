#include "report/runs/read_estimates.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "report/page/number_format.h"

namespace lowbank::report {
namespace {

// Entries of time and energy stand in pairs.
template <class ModelledBy>
void read_crossings(const JsonReader& root, const char* key, const ModelledBy& modelled_by,
                    EstimateRun& run) {
  for (const JsonReader& entry : root.items(key)) {
    const bool is_energy = entry.nonempty_text("metric") == "energy";
    if (is_energy && !run.crossings.empty()) {
      run.crossings.back().less_energy = entry.nonempty_text("better");
      continue;
    }
    CostCrossing crossing{.workload = entry.nonempty_text("workload"),
                          .phase = entry.nonempty_text("phase"),
                          .op = entry.text("operator", ""),
                          .system = entry.nonempty_text("system"),
                          .versus = entry.nonempty_text("versus"),
                          .axis = entry.nonempty_text("axis"),
                          .from = entry.number("from"),
                          .to = entry.number("to"),
                          .less_time = entry.nonempty_text("better")};
    crossing.provenance = modelled_by(crossing.system);
    run.crossings.push_back(std::move(crossing));
  }
}

std::vector<std::string> read_texts(const JsonReader& object, const char* key) {
  std::vector<std::string> out;
  for (const JsonReader& item : object.items(key)) out.push_back(item.text());
  return out;
}

std::vector<std::pair<std::string, double>> read_named_numbers(const JsonReader& object,
                                                               const char* key) {
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [name, item] : object.group(key).members()) {
    out.emplace_back(name, item.value().is_null() ? kNotReported : item.number());
  }
  return out;
}

}  // namespace

void read_experiments(const RunInfo& info, const JsonReader& resolved, ReportData& data) {
  ExperimentsRun run{.info = info,
                     .mode = resolved.text("mode", "unknown"),
                     .corrections = read_texts(resolved, "correct")};
  run.provenance = {.kind = Provenance::Kind::kModelled, .mode = run.mode, .source = "configs/pim"};
  for (const std::string& name : run.corrections) run.provenance.mode += " + " + name;
  const std::string path = info.path + "/experiments.jsonl";
  const std::string text = read_text(path);
  std::size_t line_number = 0;
  for (const std::string_view line : split_lines(text)) {
    const std::string where = fmt::format("{}:{}", path, ++line_number);
    const JsonReader entry(parse_json(line, where), where, kProgramFile);
    ExperimentRow row{.model = entry.nonempty_text("model"),
                      .system = entry.nonempty_text("system"),
                      .gpu = entry.nonempty_text("gpu"),
                      .batch_size = entry.number("batch_size"),
                      .num_gpus = entry.number("num_gpus"),
                      .input_tokens = entry.number("input_tokens"),
                      .output_tokens = entry.number("output_tokens"),
                      .time_s = read_named_numbers(entry, "time_s"),
                      .memory_energy_pj = read_named_numbers(entry, "memory_energy_pj"),
                      .compute_energy_pj = read_named_numbers(entry, "compute_energy_pj")};
    if (const auto error = entry.find("gpu_time_error")) {
      row.gpu_time_error_median_frac = error->number("median_frac", kNotReported);
      row.gpu_time_error_p90_frac = error->number("p90_frac", kNotReported);
    }
    if (!(row.total_time_s() > 0) || !(row.total_energy_pj() > 0)) {
      entry.fail("times and energies must be > 0");
    }
    run.rows.push_back(std::move(row));
  }
  if (run.rows.empty()) throw IoError(path + ": holds no experiment");
  data.experiments.push_back(std::move(run));
}

void read_estimate(const RunInfo& info, ReportData& data) {
  EstimateRun run{.info = info};
  const std::string path = info.path + "/estimate.json";
  const JsonReader root(read_json(path), path, kProgramFile);
  run.mode = root.text("mode", "unknown");
  run.slc_frac = root.number("slc_frac", kNotReported);
  for (const JsonReader& workload : root.items("workloads")) {
    const double num_factored = workload.number("num_factored_linears", kNotReported);
    run.workloads.push_back(
        {.name = workload.nonempty_text("name"),
         .file = workload.text("file", ""),
         .num_params = workload.number("num_params", kNotReported),
         .is_dense = !(num_factored > 0),
         .factored_size_frac = workload.number("factored_size_frac", kNotReported)});
  }
  std::map<std::string, std::string> files;
  for (const JsonReader& system : root.items("systems")) {
    const std::string name = system.nonempty_text("name");
    files[name] = system.text("file", name);
    for (const std::string& note : read_texts(system, "notes")) {
      const auto same = std::find_if(run.notes.begin(), run.notes.end(),
                                     [&](const auto& each) { return each.first == note; });
      if (same == run.notes.end()) {
        run.notes.push_back({note, {name}});
      } else {
        same->second.push_back(name);
      }
    }
    for (const JsonReader& constant : system.items("constants")) {
      run.constants.push_back({.system = name,
                               .key = constant.nonempty_text("key"),
                               .value = constant.number("value", kNotReported),
                               .unit = constant.text("unit", ""),
                               .source = constant.text("source", ""),
                               .uncertain = constant.text("uncertain", ""),
                               .provenance = {.kind = Provenance::Kind::kModelled,
                                              .mode = root.text("mode", "unknown"),
                                              .source = files[name]}});
    }
  }
  const auto modelled_by = [&](const std::string& system) {
    const auto file = files.find(system);
    return Provenance{.kind = Provenance::Kind::kModelled,
                      .mode = run.mode,
                      .source = file == files.end() ? system : file->second};
  };
  for (const JsonReader& row : root.items("rows")) {
    CostRow cost{.workload = row.nonempty_text("workload"),
                 .system = row.nonempty_text("system"),
                 .phase = row.nonempty_text("phase"),
                 .batch = row.number("batch", kNotReported),
                 .context = row.number("context", kNotReported),
                 .output_tokens = row.number("output_tokens", kNotReported),
                 .tokens = row.number("tokens"),
                 .latency_ns = row.number("latency_ns", kNotReported),
                 .time_to_first_token_s = row.number("time_to_first_token_s", kNotReported),
                 .time_per_output_token_s = row.number("time_per_output_token_s", kNotReported),
                 .tokens_per_s = row.number("tokens_per_s", kNotReported),
                 .energy_per_token_pj = row.number("energy_per_token_pj", kNotReported),
                 .area_mm2 = row.number("area_mm2", kNotReported),
                 .num_chips = row.number("num_chips", kNotReported),
                 .pipeline_period_ns = row.number("pipeline_period_ns", kNotReported),
                 .energy_by_component_pj = read_named_numbers(row, "energy_by_component_pj")};
    if (!(cost.tokens > 0)) row.at("tokens").fail("must be > 0");
    cost.provenance = modelled_by(cost.system);
    cost.provenance.mode = row.text("mode", run.mode);
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
  read_crossings(root, "crossovers", modelled_by, run);
  read_crossings(root, "break_even", modelled_by, run);
  for (const JsonReader& entry : root.items("sensitivity")) {
    CostSensitivity result{.workload = entry.nonempty_text("workload"),
                           .phase = entry.nonempty_text("phase"),
                           .system = entry.nonempty_text("system"),
                           .part = entry.number("part")};
    result.provenance = modelled_by(result.system);
    for (const JsonReader& constant : entry.items("constants")) {
      result.effects.push_back({.key = constant.nonempty_text("constant"),
                                .unit = constant.text("unit", ""),
                                .value = constant.number("value", kNotReported),
                                .time_at_low = constant.number("time_at_low"),
                                .time_at_high = constant.number("time_at_high"),
                                .energy_at_low = constant.number("energy_at_low", kNotReported),
                                .energy_at_high = constant.number("energy_at_high", kNotReported)});
    }
    run.sensitivities.push_back(std::move(result));
  }
  data.estimates.push_back(std::move(run));
}

}  // namespace lowbank::report
