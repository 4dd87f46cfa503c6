#include "report/runs/read_estimates.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace lowbank::report {
namespace {

using Json = nlohmann::ordered_json;

// Entries of time and energy stand in pairs.
template <class ModelledBy>
void read_crossings(const JsonNode& root, const char* key, const ModelledBy& modelled_by,
                    EstimateRun& run) {
  for (const JsonNode& entry : root.objects(key)) {
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

}  // namespace

void read_experiments(const RunInfo& info, const JsonNode& resolved, ReportData& data) {
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
    const JsonNode entry(value, where);
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

void read_estimate(const RunInfo& info, ReportData& data) {
  EstimateRun run{.info = info};
  const std::string path = info.path + "/estimate.json";
  const Json value = read_json(path);
  const JsonNode root(value, path);
  run.mode = root.text("mode", "unknown");
  run.slc_frac = root.number("slc_frac");
  for (const JsonNode& workload : root.objects("workloads")) {
    const double num_factored = workload.number("num_factored_linears");
    run.workloads.push_back({.name = workload.required_text("name"),
                             .file = workload.text("file"),
                             .num_params = workload.number("num_params"),
                             .is_dense = !(num_factored > 0),
                             .factored_size_frac = workload.number("factored_size_frac")});
  }
  std::map<std::string, std::string> files;
  for (const JsonNode& system : root.objects("systems")) {
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
    for (const JsonNode& constant : system.objects("constants")) {
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
  const auto modelled_by = [&](const std::string& system) {
    const auto file = files.find(system);
    return Provenance{.kind = Provenance::Kind::kModelled,
                      .mode = run.mode,
                      .source = file == files.end() ? system : file->second};
  };
  for (const JsonNode& row : root.objects("rows")) {
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
  for (const JsonNode& entry : root.objects("sensitivity")) {
    CostSensitivity result{.workload = entry.required_text("workload"),
                           .phase = entry.required_text("phase"),
                           .system = entry.required_text("system"),
                           .part = entry.required_number("part")};
    result.provenance = modelled_by(result.system);
    for (const JsonNode& constant : entry.objects("constants")) {
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

}  // namespace lowbank::report
