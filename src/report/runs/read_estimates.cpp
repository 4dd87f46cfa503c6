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

using Crossovers = std::vector<EstimateResult::Crossover>;
using Sensitivities = std::vector<EstimateResult::Sensitivity>;

// Entries of time and energy stand in pairs.
template <class ModelledBy>
void add_crossings(const Crossovers& entries, const ModelledBy& modelled_by, EstimateRun& run) {
  for (const EstimateResult::Crossover& entry : entries) {
    if (entry.metric == "energy" && !run.crossings.empty()) {
      run.crossings.back().less_energy = entry.better;
      continue;
    }
    run.crossings.push_back({entry, /*less_energy=*/"", modelled_by(entry.system)});
  }
}

std::vector<std::string> read_texts(const JsonReader& object, const char* key) {
  std::vector<std::string> out;
  for (const JsonReader& item : object.items(key)) out.push_back(item.text());
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
    ExperimentRow row;
    read_fields(entry, row.ExperimentTask::fields());
    read_fields(entry, row.ExperimentFigures::fields());
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
  EstimateResult result{.mode = "unknown"};
  read_fields(root, result.fields());
  run.mode = result.mode;
  run.slc_frac = result.slc_frac;
  run.workloads = result.workloads;
  std::map<std::string, std::string> files;
  for (const EstimateResult::System& system : result.systems) {
    files[system.name] = system.file.empty() ? system.name : system.file;
    for (const std::string& note : system.notes) {
      const auto same = std::find_if(run.notes.begin(), run.notes.end(),
                                     [&](const auto& each) { return each.first == note; });
      if (same == run.notes.end()) {
        run.notes.push_back({note, {system.name}});
      } else {
        same->second.push_back(system.name);
      }
    }
    for (const EstimateResult::Constant& constant : system.constants) {
      run.constants.push_back(
          {constant,
           system.name,
           {.kind = Provenance::Kind::kModelled, .mode = run.mode, .source = files[system.name]}});
    }
  }
  const auto modelled_by = [&](const std::string& system) {
    const auto file = files.find(system);
    return Provenance{.kind = Provenance::Kind::kModelled,
                      .mode = run.mode,
                      .source = file == files.end() ? system : file->second};
  };
  for (const EstimateResult::Row& row : result.rows) {
    run.sweep.push_back({row, modelled_by(row.system)});
    if (!row.mode.empty()) run.sweep.back().provenance.mode = row.mode;
  }
  // Tables and bars compare systems at one batch and context, the first of each workload.
  for (const CostRow& row : run.sweep) {
    const auto first = std::find_if(run.sweep.begin(), run.sweep.end(), [&](const CostRow& each) {
      return each.workload == row.workload;
    });
    if (row.has_size_of(*first)) run.rows.push_back(row);
  }
  if (run.rows.size() == run.sweep.size()) run.sweep.clear();
  add_crossings(result.crossovers.value_or(Crossovers()), modelled_by, run);
  add_crossings(result.break_even.value_or(Crossovers()), modelled_by, run);
  for (const auto& entry : result.sensitivity.value_or(Sensitivities())) {
    run.sensitivities.push_back({entry, modelled_by(entry.system)});
  }
  data.estimates.push_back(std::move(run));
}

}  // namespace lowbank::report
