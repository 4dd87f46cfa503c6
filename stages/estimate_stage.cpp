#include "stages/estimate_stage.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/choose.h"
#include "config/output_rules.h"
#include "config/results/estimate_result.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "pim/estimate_studies.h"
#include "pim/estimate_tables.h"
#include "pim/estimator.h"
#include "pim/print_table.h"
#include "pim/reshape.h"
#include "pim/workload.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kResultRevision = 1;

// A workload at one batch and context of the sweep; indices count from 0.
struct Point {
  const pim::NamedWorkload* source = nullptr;
  std::size_t place = 0;
  pim::Workload workload;
};

enum class RowPhase { kPrefill, kDecode, kGenerate };

pim::Phase model_phase(RowPhase phase) {
  return phase == RowPhase::kPrefill ? pim::Phase::kPrefill : pim::Phase::kDecode;
}

struct Row {
  const Point* point = nullptr;
  const pim::NamedSystem* system = nullptr;
  RowPhase phase = RowPhase::kDecode;
  pim::PhaseCost cost;
  std::optional<double> energy_pj;  // not known for CPUs
  std::int64_t output_tokens = 0;   // kGenerate: generated tokens of each sequence
  double first_token_ns = 0;
  double later_tokens_ns = 0;
  double last_token_ns = 0;

  const pim::Workload& workload() const { return point->workload; }
  double tokens() const {
    if (phase == RowPhase::kGenerate) {
      return static_cast<double>(workload().batch) * static_cast<double>(output_tokens);
    }
    return static_cast<double>(workload().tokens(model_phase(phase)));
  }
  double ns_per_token() const { return cost.latency_ns / tokens(); }
  std::optional<double> pj_per_token() const {
    if (!energy_pj) return std::nullopt;
    return *energy_pj / tokens();
  }
};

std::string row_phase_name(RowPhase phase) {
  if (phase == RowPhase::kGenerate) return "generate";
  return pim::phase_name(model_phase(phase));
}

// If models share a name, they are named after the folder of their file, or else after the whole
// path.
void make_names_unique(std::vector<pim::NamedWorkload>& workloads) {
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

std::vector<pim::NamedWorkload> read_workloads(const std::vector<std::string>& paths) {
  std::vector<pim::NamedWorkload> workloads;
  for (const auto& path : paths) {
    pim::Workload workload = pim::read_workload(path);
    workloads.push_back({workload.model, path, std::move(workload)});
  }
  make_names_unique(workloads);
  return workloads;
}

// Bytes of an element; mx8's shared exponents, one byte for 32, are left out.
std::optional<std::int64_t> element_bytes_of(const std::string& format) {
  if (format == "none") return std::nullopt;
  return format == "fp16" || format == "bf16" ? 2 : 1;
}

// A signed level takes a pair of cells, and so does a difference of two arrays.
bool takes_two_cells(const std::string& encoding) {
  return encoding == "sign_magnitude" || encoding == "differential";
}

pim::EstimateMode mode_of(const EstimateConfig& config) {
  return choose<pim::EstimateMode>(config.mode, {{"physical", pim::EstimateMode::kPhysical},
                                                 {"reference", pim::EstimateMode::kReference}});
}

pim::TableOptions table_options(const EstimateConfig& config) {
  return {.mode = mode_of(config),
          .correct = config.correct,
          .out = config.common.out,
          .trace = config.trace};
}

pim::SystemOptions options_of(const EstimateConfig& config) {
  return {.mode = mode_of(config),
          .corrections = pim::make_corrections(mode_of(config), config.correct),
          .slc_frac = config.slc_frac,
          .slc_slices = config.slc_slices,
          .cell_copies = takes_two_cells(config.encoding) ? 2 : 1,
          .num_gpus = config.num_gpus,
          .num_chips = config.num_chips,
          .fuses_attention = config.attention == "fused",
          .interconnect = config.interconnect,
          .kv_bytes = element_bytes_of(config.kv_format),
          .state_bytes = element_bytes_of(config.state_format)};
}

// An option that none of the systems knows would be ignored in silence.
void check_options_have_effect(const EstimateConfig& config,
                               const std::vector<pim::NamedSystem>& systems) {
  const auto are_any = [&](std::initializer_list<pim::SystemKind> kinds) {
    return std::any_of(systems.begin(), systems.end(), [&](const pim::NamedSystem& entry) {
      const pim::SystemKind kind = entry.system->presets().front().kind;
      return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
    });
  };
  const auto refuse = [](const char* key, const char* machines) {
    throw ConfigError(fmt::format("{}: is for {}; none of the systems is one", key, machines));
  };
  using Kind = pim::SystemKind;
  if (config.num_gpus > 1 && !are_any({Kind::kGpu, Kind::kHbmPim})) refuse("num_gpus", "GPUs");
  if (!are_any({Kind::kRram})) {
    if (config.num_chips > 0) refuse("num_chips", "RRAM systems");
    if (config.slc_slices > 0) refuse("slc_slices", "RRAM systems");
    if (config.encoding != "twos_complement") refuse("encoding", "RRAM systems");
  }
  if (!are_any({Kind::kGpu, Kind::kHbmPim, Kind::kRram})) {
    if (config.kv_format != "none") refuse("kv_format", "GPUs, their memory and RRAM systems");
    if (config.state_format != "none")
      refuse("state_format", "GPUs, their memory and RRAM systems");
  }
}

std::vector<pim::NamedSystem> make_systems(const EstimateConfig& config) {
  const pim::SystemOptions options = options_of(config);
  std::vector<pim::NamedSystem> systems;
  for (const auto& name : config.system) {
    auto system = pim::make_system(name, options);
    const std::string preset_name = system->presets().front().name;
    for (const auto& other : systems) {
      if (other.name == preset_name) {
        throw ConfigError(fmt::format("system: '{}' is given twice", preset_name));
      }
    }
    systems.push_back({preset_name, std::move(system)});
  }
  check_options_have_effect(config, systems);
  return systems;
}

// Every workload at every batch and context that was asked for, or at its own.
std::vector<Point> make_points(const EstimateConfig& config,
                               const std::vector<pim::NamedWorkload>& workloads) {
  std::vector<Point> points;
  for (const auto& source : workloads) {
    const auto sizes = [](const std::vector<double>& asked, std::int64_t own) {
      std::vector<std::int64_t> values;
      for (const double value : asked) values.push_back(static_cast<std::int64_t>(value));
      if (values.empty()) values.push_back(own);
      return values;
    };
    std::size_t place = 0;
    for (const std::int64_t context : sizes(config.context, source.workload.context)) {
      for (const std::int64_t batch : sizes(config.batch, source.workload.batch)) {
        pim::Workload workload = pim::reshape_workload(source.workload, batch, context);
        // The reference has no prompts; what it is given it prices as it is.
        if (config.prompt_head == "last" && mode_of(config) == pim::EstimateMode::kPhysical) {
          workload = pim::with_last_token_head(workload);
        }
        points.push_back({&source, place++, std::move(workload)});
      }
    }
  }
  return points;
}

void check_figures(const Row& row) {
  if (!std::isfinite(row.cost.latency_ns) || !std::isfinite(row.energy_pj.value_or(0)) ||
      row.cost.latency_ns <= 0) {
    throw ConfigError(fmt::format("{}: {} on {}: the figures leave the range of numbers",
                                  row.point->source->file, row_phase_name(row.phase),
                                  row.system->name));
  }
}

// Not done where the phases are priced, so that a generation has one note, for its longest cache.
void add_capacity_note(pim::PhaseCost& cost) {
  if (!cost.memory_capacity_bytes || cost.memory_bytes <= *cost.memory_capacity_bytes) return;
  const bool is_one = cost.num_chips == 1;
  cost.notes.push_back(fmt::format("needs {:.1f} GB, the {} {:.1f} GB: does not fit",
                                   cost.memory_bytes * 1e-9,
                                   is_one ? "GPU has" : fmt::format("{} GPUs have", cost.num_chips),
                                   *cost.memory_capacity_bytes * 1e-9));
}

std::vector<Row> price(const Point& point, const pim::NamedSystem& system,
                       std::int64_t output_tokens) {
  std::vector<Row> rows;
  const auto add = [&](RowPhase phase, pim::PhaseCost cost) -> Row& {
    Row row;
    row.point = &point;
    row.system = &system;
    row.phase = phase;
    row.cost = std::move(cost);
    add_capacity_note(row.cost);
    if (row.cost.knows_energy()) row.energy_pj = row.cost.energy_pj.total();
    check_figures(row);
    return rows.emplace_back(std::move(row));
  };
  if (!point.workload.prefill.empty()) {
    add(RowPhase::kPrefill, system.system->price(point.workload, pim::Phase::kPrefill));
  }
  if (!point.workload.decode.empty()) {
    add(RowPhase::kDecode, system.system->price(point.workload, pim::Phase::kDecode));
  }
  if (output_tokens > 0) {
    pim::GenerationCost cost = pim::price_generation(*system.system, point.workload, output_tokens);
    Row& row = add(RowPhase::kGenerate, std::move(cost.total));
    row.output_tokens = output_tokens;
    row.first_token_ns = cost.first_token_ns;
    row.later_tokens_ns = cost.later_tokens_ns;
    row.last_token_ns = cost.last_token_ns;
  }
  return rows;
}

// Finds the row with which another row is compared.
class RowIndex {
 public:
  explicit RowIndex(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      rows_.emplace(Key(row.point->source, row.point->place, row.system, row.phase), &row);
    }
  }
  // The row with the same sizes and phase; nullptr if there is none.
  const Row* like(const Row& row, const pim::NamedWorkload* workload,
                  const pim::NamedSystem* system) const {
    const auto entry = rows_.find(Key(workload, row.point->place, system, row.phase));
    return entry == rows_.end() ? nullptr : entry->second;
  }

 private:
  using Key = std::tuple<const pim::NamedWorkload*, std::size_t, const pim::NamedSystem*, RowPhase>;
  std::map<Key, const Row*> rows_;
};

// How many times faster, and how many times less energy, per token than `base`.
struct Gain {
  std::optional<double> speedup;
  std::optional<double> energy;
};

Gain gain_over(const Row* base, const Row& row) {
  if (base == nullptr) return {};
  Gain gain{.speedup = base->ns_per_token() / row.ns_per_token(), .energy = {}};
  const bool is_like = base->cost.accounting == row.cost.accounting;
  if (is_like && base->energy_pj && row.energy_pj)
    gain.energy = *base->pj_per_token() / *row.pj_per_token();
  return gain;
}

// "calibrated": modelled by constants that were fitted to measurements of the machine itself.
std::string provenance_of(const pim::System& system, const std::string& mode) {
  const pim::SystemPreset preset = system.presets().front();
  const auto is_fitted = [](const pim::Constant& constant) {
    return constant.key == "gemm_launch_us" && constant.source.starts_with("fitted by");
  };
  const bool is_fitted_gpu =
      preset.kind == pim::SystemKind::kGpu && mode == "physical" &&
      std::any_of(preset.constants.begin(), preset.constants.end(), is_fitted);
  return is_fitted_gpu || preset.kind == pim::SystemKind::kCpu ? "calibrated" : "modelled";
}

EstimateResult::Row row_figures(const Row& row, const Gain& by_workload, const Gain& by_system,
                                const std::string& mode) {
  const pim::Workload& workload = row.workload();
  const double latency_s = row.cost.latency_ns * 1e-9;
  EstimateResult::Row figures{
      .workload = row.point->source->name,
      .system = row.system->name,
      .phase = row_phase_name(row.phase),
      .origin = provenance_of(*row.system->system, mode),
      .mode = mode,
      .batch = workload.batch,
      .context = workload.context,
      .tokens = static_cast<std::int64_t>(row.tokens()),
      .latency_s = latency_s,
      .latency_ns = row.cost.latency_ns,
      .tokens_per_s = row.tokens() / latency_s,
      .pipeline_period_ns = row.cost.pipeline_period_ns.value_or(kNotReported),
      .energy_pj = row.energy_pj.value_or(kNotReported),
      .energy_per_token_pj = row.pj_per_token().value_or(kNotReported),
      .energy_by_component_pj = row.cost.energy_pj.parts(),
      .time_by_category_ns = row.cost.time_ns.parts(),
      .weight_bytes = row.cost.weight_bytes,
      .area_mm2 = row.cost.area_mm2.value_or(kNotReported),
      .num_chips = row.cost.num_chips,
      .memory_bytes = row.cost.memory_bytes > 0 ? row.cost.memory_bytes : kNotReported,
      .memory_capacity_bytes = row.cost.memory_capacity_bytes.value_or(kNotReported),
      .speedup_vs_first_workload = by_workload.speedup.value_or(kNotReported),
      .energy_gain_vs_first_workload = by_workload.energy.value_or(kNotReported),
      .speedup_vs_first_system = by_system.speedup.value_or(kNotReported),
      .energy_gain_vs_first_system = by_system.energy.value_or(kNotReported),
      .notes = row.cost.notes};
  if (row.phase == RowPhase::kGenerate) {
    figures.output_tokens = row.output_tokens;
    figures.time_to_first_token_s = row.first_token_ns * 1e-9;
    if (row.output_tokens > 1) {
      figures.time_per_output_token_s =
          row.later_tokens_ns * 1e-9 / static_cast<double>(row.output_tokens - 1);
      figures.time_of_last_token_s = row.last_token_ns * 1e-9;
    }
  } else {
    (row.phase == RowPhase::kPrefill ? figures.time_to_first_token_s
                                     : figures.time_per_output_token_s) = latency_s;
    figures.num_macs = pim::num_macs(workload.operators(model_phase(row.phase)));
  }
  if (const auto error = row.system->system->gpu_time_error()) {
    figures.gpu_time_error_median_frac = error->median_frac;
    figures.gpu_time_error_p90_frac = error->p90_frac;
  }
  return figures;
}

EstimateResult::Workload workload_figures(const pim::NamedWorkload& entry) {
  const pim::Workload& workload = entry.workload;
  const pim::FactoredSize size =
      pim::factored_size(workload.decode.empty() ? workload.prefill : workload.decode);
  return {.name = entry.name,
          .file = entry.file,
          .model = workload.model,
          .batch = workload.batch,
          .context = workload.context,
          .num_params = workload.num_params,
          .num_layers = workload.num_layers,
          .num_linears = size.num_linears,
          .num_factored_linears = size.num_factored,
          .factored_size_frac =
              size.num_factored > 0 ? size.factored_weights / size.dense_weights : kNotReported};
}

EstimateResult::System system_figures(const pim::NamedSystem& entry) {
  const std::vector<pim::SystemPreset> presets = entry.system->presets();
  EstimateResult::System figures{.name = entry.name,
                                 .kind = pim::system_kind_name(presets.front().kind),
                                 .about = presets.front().about,
                                 .file = presets.front().file,
                                 .notes = entry.system->notes()};
  for (const auto& preset : presets) {
    for (const auto& constant : preset.constants) {
      figures.constants.push_back({.key = constant.key,
                                   .value = constant.value,
                                   .unit = constant.unit,
                                   .source = constant.source,
                                   .uncertain = constant.uncertain});
    }
  }
  return figures;
}

std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? csv_field(value.get<std::string>()) : value.dump();
}

// One line for each row. There is a column for each part of time and energy that any row has.
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
  std::string csv;
  for (std::size_t i = 0; i < columns.size(); ++i)
    csv += (i > 0 ? "," : "") + csv_field(columns[i]);
  csv += '\n';
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
  if (!ratio) return "-";
  // Two decimals, or two digits for small ratios, so that none is shown as 0.00.
  return *ratio < 0.1 ? fmt::format("{:.2g} x", *ratio) : fmt::format("{:.2f} x", *ratio);
}

// Prints each note once, after the names of the systems or rows to which it applies.
void print_notes(const std::vector<pim::NamedSystem>& systems, const std::vector<Row>& rows) {
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
      add(text, fmt::format("{} on {}", row.point->source->name, row.system->name));
    }
  }
  for (const auto& [text, owners] : notes) {
    print_line(fmt::format("- {}: {}", fmt::join(owners, ", "), text));
  }
}

}  // namespace

void estimate_stage(const EstimateConfig& config, RunDir* out, Metrics& metrics) {
  const pim::TableOptions table_form = table_options(config);
  if (!config.experiments.empty()) {
    return pim::estimate_experiments(config.experiments, table_form, out, metrics);
  }
  if (!config.pim_calls.empty()) {
    return pim::estimate_pim_calls(config.pim_calls, table_form, out, metrics);
  }
  if (!config.operators.empty()) {
    return pim::estimate_operators(config.operators, table_form, out, metrics);
  }
  if (!config.fit.empty()) {
    const std::string base = config.system.empty() ? "" : config.system.front();
    return pim::fit_gpus(config.fit, base, table_form, out, metrics);
  }

  const std::vector<pim::NamedWorkload> workloads = read_workloads(config.workload);
  const std::vector<pim::NamedSystem> systems = make_systems(config);

  const std::vector<Point> points = make_points(config, workloads);
  std::vector<Row> rows;
  for (const Point& point : points) {
    for (const auto& system : systems) {
      stop_if_interrupted();
      for (Row& row : price(point, system, config.output_tokens)) rows.push_back(std::move(row));
    }
  }

  EstimateResult result{.revision = kResultRevision,
                        .mode = config.mode,
                        .slc_frac = config.slc_frac,
                        .num_gpus = config.num_gpus};
  for (const auto& workload : workloads) result.workloads.push_back(workload_figures(workload));
  for (const auto& system : systems) result.systems.push_back(system_figures(system));

  const bool is_sweep = points.size() > workloads.size();
  std::vector<std::vector<std::string>> table = {{"workload", "system", "phase", "time", "tokens/s",
                                                  "energy/token", "area", "faster*", "energy*",
                                                  "faster+", "energy+"}};
  if (is_sweep) table.front().insert(table.front().begin() + 3, {"batch", "context"});
  const RowIndex index(rows);
  for (const Row& row : rows) {
    const Gain by_workload = gain_over(index.like(row, &workloads.front(), row.system), row);
    const Gain by_system = gain_over(index.like(row, row.point->source, &systems.front()), row);
    result.rows.push_back(row_figures(row, by_workload, by_system, config.mode));
    table.push_back(
        {row.point->source->name, row.system->name, row_phase_name(row.phase),
         scaled(row.cost.latency_ns, {"ns", "us", "ms", "s"}),
         fmt::format("{:.4g}", row.tokens() / (row.cost.latency_ns * 1e-9)),
         row.energy_pj ? scaled(*row.pj_per_token(), {"pJ", "nJ", "uJ", "mJ", "J"}) : "-",
         row.cost.area_mm2 ? fmt::format("{:.0f} mm2", *row.cost.area_mm2) : "-",
         ratio_text(by_workload.speedup), ratio_text(by_workload.energy),
         ratio_text(by_system.speedup), ratio_text(by_system.energy)});
    if (is_sweep) {
      table.back().insert(table.back().begin() + 3, {std::to_string(row.workload().batch),
                                                     std::to_string(row.workload().context)});
    }
  }

  if (config.crossovers) result.crossovers = pim::find_crossovers(workloads, systems);
  if (config.break_even) result.break_even = pim::find_break_even(workloads, systems);
  if (config.sensitivity > 0) {
    result.sensitivity = pim::find_sensitivity(workloads, systems, options_of(config),
                                               config.output_tokens, config.sensitivity);
  }

  const Json document = to_json(result.fields());
  if (out != nullptr) {
    out->begin();
    out->write("estimate.json", dump_json(document));
    out->write("estimate.csv", rows_to_csv(document.at("rows")));
  } else {
    check_is_not_read("out", config.common.out);  // now the parts of the presets are known
    write_file(config.common.out, dump_json(document));
  }
  metrics = document;
  // What the settings, the workloads and the presets say is in estimate.json alone.
  for (const char* const key : {"revision", "num_gpus", "workloads", "systems"}) {
    metrics.erase(key);
  }

  print("Modelled figures ({} mode); prefill: the whole prompt, decode: one token per sequence.",
        config.mode);
  pim::print_table(table, 3);
  print("* times as fast, or as frugal, as {} on the same system; + as the same workload on {}.",
        workloads.front().name, systems.front().name);
  print_notes(systems, rows);
  if (config.crossovers) pim::print_crossovers(*result.crossovers);
  if (config.break_even) pim::print_break_even(*result.break_even);
  if (config.sensitivity > 0) pim::print_sensitivity(*result.sensitivity, config.sensitivity);
}

}  // namespace lowbank
