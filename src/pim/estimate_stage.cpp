#include "pim/estimate_stage.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "pim/estimate_tables.h"
#include "pim/estimator.h"
#include "pim/workload.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kResultRevision = 1;

struct NamedWorkload {
  std::string name;  // unique among those of this run
  std::string file;
  Workload workload;
};

struct NamedSystem {
  std::string name;
  std::unique_ptr<System> system;
};

struct Row {
  const NamedWorkload* workload = nullptr;
  const NamedSystem* system = nullptr;
  Phase phase = Phase::kDecode;
  PhaseCost cost;
  double energy_pj = 0;

  double tokens() const { return static_cast<double>(workload->workload.tokens(phase)); }
  double ns_per_token() const { return cost.latency_ns / tokens(); }
  double pj_per_token() const { return energy_pj / tokens(); }
};

// Models may share a name; the folder of the file tells them apart, or else the whole path.
void make_names_unique(std::vector<NamedWorkload>& workloads) {
  const auto are_unique = [&] {
    std::set<std::string> names;
    for (const auto& entry : workloads) names.insert(entry.name);
    return names.size() == workloads.size();
  };
  if (are_unique()) return;
  for (auto& entry : workloads) {
    const fs::path path(entry.file);
    entry.name = path.filename() == "workload.json" ? path.parent_path().filename().string()
                                                    : path.stem().string();
  }
  if (are_unique()) return;
  for (auto& entry : workloads) entry.name = entry.file;
  if (!are_unique()) throw ConfigError("workload: the same file is given twice");
}

std::vector<NamedWorkload> read_workloads(const std::vector<std::string>& paths) {
  std::vector<NamedWorkload> workloads;
  for (const auto& path : paths) {
    Workload workload = read_workload(path);
    workloads.push_back({workload.model, path, std::move(workload)});
  }
  make_names_unique(workloads);
  return workloads;
}

std::vector<NamedSystem> make_systems(const EstimateConfig& config) {
  const EstimateMode mode =
      config.mode == "reference" ? EstimateMode::kReference : EstimateMode::kPhysical;
  const Corrections corrections = corrections_of(config);
  std::vector<NamedSystem> systems;
  for (const auto& name : config.system) {
    auto system = make_system(name, mode, corrections, config.slc_frac);
    const std::string preset_name = system->presets().front().name;
    for (const auto& other : systems) {
      if (other.name == preset_name) {
        throw ConfigError(fmt::format("system: '{}' is given twice", preset_name));
      }
    }
    systems.push_back({preset_name, std::move(system)});
  }
  return systems;
}

Row price(const NamedWorkload& workload, const NamedSystem& system, Phase phase) {
  Row row;
  row.workload = &workload;
  row.system = &system;
  row.phase = phase;
  row.cost = system.system->price(workload.workload, phase);
  row.energy_pj = row.cost.energy_pj.total();
  if (!std::isfinite(row.cost.latency_ns) || !std::isfinite(row.energy_pj) ||
      row.cost.latency_ns <= 0) {
    throw ConfigError(fmt::format("{}: {} on {}: the figures leave the range of numbers",
                                  workload.file, phase_name(phase), system.name));
  }
  return row;
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const Breakdown& parts) {
  Json object = Json::object();
  for (const auto& [name, value] : parts.parts()) object[name] = value;
  return object;
}

const Row* find_row(const std::vector<Row>& rows, const NamedWorkload* workload,
                    const NamedSystem* system, Phase phase) {
  for (const auto& row : rows) {
    if (row.workload == workload && row.system == system && row.phase == phase) return &row;
  }
  return nullptr;
}

// How many times faster, and how many times less energy, per token than `base`.
struct Gain {
  std::optional<double> speedup;
  std::optional<double> energy;
};

Gain gain_over(const Row* base, const Row& row) {
  if (base == nullptr) return {};
  return {base->ns_per_token() / row.ns_per_token(), base->pj_per_token() / row.pj_per_token()};
}

Json row_to_json(const Row& row, const Gain& by_workload, const Gain& by_system,
                 const std::string& mode) {
  const Workload& workload = row.workload->workload;
  const double latency_s = row.cost.latency_ns * 1e-9;
  const bool is_prefill = row.phase == Phase::kPrefill;
  const std::optional<GpuTimeError> error = row.system->system->gpu_time_error();
  return {{"workload", row.workload->name},
          {"system", row.system->name},
          {"phase", phase_name(row.phase)},
          {"provenance", "modelled"},
          {"mode", mode},
          {"batch", workload.batch},
          {"context", workload.context},
          {"tokens", workload.tokens(row.phase)},
          {"latency_s", latency_s},
          {"latency_ns", row.cost.latency_ns},
          {"tokens_per_s", row.tokens() / latency_s},
          {"time_to_first_token_s", is_prefill ? Json(latency_s) : Json(nullptr)},
          {"time_per_output_token_s", is_prefill ? Json(nullptr) : Json(latency_s)},
          {"pipeline_period_ns", or_null(row.cost.pipeline_period_ns)},
          {"energy_pj", row.energy_pj},
          {"energy_per_token_pj", row.pj_per_token()},
          {"energy_by_component_pj", to_json(row.cost.energy_pj)},
          {"time_by_category_ns", to_json(row.cost.time_ns)},
          {"num_macs", num_macs(workload.operators(row.phase))},
          {"weight_bytes", row.cost.weight_bytes},
          {"gpu_time_error_median_frac", error ? Json(error->median_frac) : Json(nullptr)},
          {"gpu_time_error_p90_frac", error ? Json(error->p90_frac) : Json(nullptr)},
          {"area_mm2", or_null(row.cost.area_mm2)},
          {"num_chips", row.cost.num_chips},
          {"speedup_vs_first_workload", or_null(by_workload.speedup)},
          {"energy_gain_vs_first_workload", or_null(by_workload.energy)},
          {"speedup_vs_first_system", or_null(by_system.speedup)},
          {"energy_gain_vs_first_system", or_null(by_system.energy)},
          {"notes", row.cost.notes}};
}

Json workload_info(const NamedWorkload& entry) {
  const Workload& workload = entry.workload;
  const FactoredSize size =
      factored_size(workload.decode.empty() ? workload.prefill : workload.decode);
  return {
      {"name", entry.name},
      {"file", entry.file},
      {"model", workload.model},
      {"batch", workload.batch},
      {"context", workload.context},
      {"num_params", workload.num_params},
      {"num_layers", workload.num_layers},
      {"num_linears", size.num_linears},
      {"num_factored_linears", size.num_factored},
      {"factored_size_frac",
       size.num_factored > 0 ? Json(size.factored_weights / size.dense_weights) : Json(nullptr)}};
}

Json system_info(const NamedSystem& entry) {
  const std::vector<SystemPreset> presets = entry.system->presets();
  Json constants = Json::array();
  for (const auto& preset : presets) {
    for (const auto& constant : preset.constants) {
      Json object = {{"key", constant.key},
                     {"value", constant.value},
                     {"unit", constant.unit},
                     {"source", constant.source}};
      if (!constant.uncertain.empty()) object["uncertain"] = constant.uncertain;
      constants.push_back(std::move(object));
    }
  }
  return {{"name", entry.name},
          {"kind", system_kind_name(presets.front().kind)},
          {"about", presets.front().about},
          {"file", presets.front().file},
          {"notes", entry.system->notes()},
          {"constants", std::move(constants)}};
}

std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto text = value.get<std::string>();
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// One line a row; the parts of time and energy become columns of all parts that any row has.
std::string rows_to_csv(const Json& rows) {
  std::vector<std::string> columns;
  std::vector<std::map<std::string, std::string>> lines;
  for (const auto& row : rows) {
    auto& line = lines.emplace_back();
    const auto put = [&](const std::string& column, const Json& value) {
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
        columns.push_back(column);
      }
      line[column] = csv_cell(value);
    };
    for (const auto& [key, value] : row.items()) {
      if (value.is_array()) continue;  // notes
      if (!value.is_object()) {
        put(key, value);
        continue;
      }
      const bool is_energy = key == "energy_by_component_pj";
      for (const auto& [part, number] : value.items()) {
        put((is_energy ? "energy_" : "time_") + part + (is_energy ? "_pj" : "_ns"), number);
      }
    }
  }
  std::string csv = fmt::format("{}\n", fmt::join(columns, ","));
  for (auto& line : lines) {
    for (std::size_t i = 0; i < columns.size(); ++i) csv += (i > 0 ? "," : "") + line[columns[i]];
    csv += '\n';
  }
  return csv;
}

std::string scaled(double value, std::initializer_list<const char*> units) {
  const char* const* unit = units.begin();
  while (value >= 1000 && unit + 1 != units.end()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, *unit);
}

std::string ratio_text(const std::optional<double>& ratio) {
  return ratio ? fmt::format("{:.2f} x", *ratio) : "-";
}

void print_table(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      // Names to the left, figures to the right.
      text += i < 3 ? fmt::format("{:<{}}  ", line[i], widths[i])
                    : fmt::format("{:>{}}  ", line[i], widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    print_line(text);
  }
}

// Each note once, after the systems or rows it holds for.
void print_notes(const std::vector<NamedSystem>& systems, const std::vector<Row>& rows) {
  std::vector<std::pair<std::string, std::vector<std::string>>> notes;  // text, whose
  const auto add = [&](const std::string& text, const std::string& owner) {
    const auto same_text = [&](const auto& note) { return note.first == text; };
    auto it = std::find_if(notes.begin(), notes.end(), same_text);
    if (it == notes.end()) it = notes.insert(notes.end(), {text, {}});
    auto& owners = it->second;
    if (std::find(owners.begin(), owners.end(), owner) == owners.end()) owners.push_back(owner);
  };
  for (const auto& system : systems) {
    for (const auto& text : system.system->notes()) add(text, system.name);
  }
  for (const auto& row : rows) {
    for (const auto& text : row.cost.notes) {
      add(text, fmt::format("{} on {}", row.workload->name, row.system->name));
    }
  }
  for (const auto& [text, owners] : notes) {
    print_line(fmt::format("- {}: {}", fmt::join(owners, ", "), text));
  }
}

}  // namespace

void estimate_stage(const EstimateConfig& config, RunDir* out, Metrics& metrics) {
  if (!config.experiments.empty()) return estimate_experiments(config, out, metrics);
  if (!config.pim_calls.empty()) return estimate_pim_calls(config, out, metrics);
  if (!config.operators.empty()) return estimate_operators(config, out, metrics);
  if (!config.fit.empty()) return fit_gpus(config, out, metrics);

  const std::vector<NamedWorkload> workloads = read_workloads(config.workload);
  const std::vector<NamedSystem> systems = make_systems(config);

  std::vector<Row> rows;
  for (const auto& workload : workloads) {
    for (const auto& system : systems) {
      for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
        if (workload.workload.operators(phase).empty()) continue;
        rows.push_back(price(workload, system, phase));
      }
    }
  }

  Json document = {{"revision", kResultRevision}, {"provenance", "modelled"},
                   {"mode", config.mode},         {"slc_frac", config.slc_frac},
                   {"workloads", Json::array()},  {"systems", Json::array()},
                   {"rows", Json::array()}};
  for (const auto& workload : workloads) document["workloads"].push_back(workload_info(workload));
  for (const auto& system : systems) document["systems"].push_back(system_info(system));

  std::vector<std::vector<std::string>> table = {{"workload", "system", "phase", "time", "tokens/s",
                                                  "energy/token", "area", "faster*", "energy*",
                                                  "faster+", "energy+"}};
  for (const Row& row : rows) {
    const Gain by_workload =
        gain_over(find_row(rows, &workloads.front(), row.system, row.phase), row);
    const Gain by_system =
        gain_over(find_row(rows, row.workload, &systems.front(), row.phase), row);
    document["rows"].push_back(row_to_json(row, by_workload, by_system, config.mode));
    table.push_back({row.workload->name, row.system->name, phase_name(row.phase),
                     scaled(row.cost.latency_ns, {"ns", "us", "ms", "s"}),
                     fmt::format("{:.4g}", row.tokens() / (row.cost.latency_ns * 1e-9)),
                     scaled(row.pj_per_token(), {"pJ", "nJ", "uJ", "mJ", "J"}),
                     row.cost.area_mm2 ? fmt::format("{:.0f} mm2", *row.cost.area_mm2) : "-",
                     ratio_text(by_workload.speedup), ratio_text(by_workload.energy),
                     ratio_text(by_system.speedup), ratio_text(by_system.energy)});
  }

  if (out != nullptr) {
    out->begin();
    out->write("estimate.json", dump_json(document));
    out->write("estimate.csv", rows_to_csv(document["rows"]));
  } else {
    write_file(config.common.out, dump_json(document));
  }
  metrics = {{"provenance", "modelled"},
             {"mode", config.mode},
             {"slc_frac", config.slc_frac},
             {"rows", document["rows"]}};

  print("Modelled figures ({} mode); prefill: the whole prompt, decode: one token per sequence.",
        config.mode);
  print_table(table);
  print("* times as fast, or as frugal, as {} on the same system; + as the same workload on {}.",
        workloads.front().name, systems.front().name);
  print_notes(systems, rows);
}

}  // namespace lowbank
