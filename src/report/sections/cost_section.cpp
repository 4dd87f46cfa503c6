#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "report/runs/costs.h"
#include "report/runs/slc_points.h"
#include "report/sections/labels.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

constexpr double kNoticeableGain = 1.01;
constexpr double kLogRatioOfBars = 20;
constexpr std::size_t kMaxComponents = 8;  // as many as there are colours

std::string ratio_text(double gain, const std::string& better, const std::string& worse,
                       const std::string& equal) {
  if (!std::isfinite(gain) || gain <= 0) return "not known";
  if (gain < kNoticeableGain && gain > 1 / kNoticeableGain) return equal;
  const double ratio = gain > 1 ? gain : 1 / gain;
  return fmt::format("{} {}", format_ratio(ratio), gain > 1 ? better : worse);
}

template <class Get>
std::vector<std::string> distinct_names(const EstimateRun& run, Get get) {
  std::vector<std::string> names;
  for (const CostRow& row : run.rows) {
    const std::string name = get(row);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

// Bars of one quantity: a group for each system, a bar for each workload.
Panel cost_panel(const ReportData& data, const EstimateRun& run, const std::string& phase,
                 const std::string& title, const std::string& unit, double unit_size,
                 double (*quantity)(const CostRow&), std::string (*text)(double, int)) {
  Panel panel{.title = title, .value_label = unit};
  for (const std::string& system :
       distinct_names(run, [](const CostRow& row) { return row.system; })) {
    BarGroup group{.name = system};
    for (const CostRow& row : run.rows) {
      if (row.system != system || row.phase != phase) continue;
      const double value = quantity(row);
      std::string label = std::isfinite(value) ? text(value, 3) : "not known";
      const CostRow* const dense = run.dense_row(row);
      if (dense != nullptr && dense != &row && std::isfinite(quantity(*dense) / value)) {
        label += fmt::format(" ({})", format_ratio(value / quantity(*dense)));
      }
      group.bars.push_back({.name = workload_label(data, run, row.workload),
                            .segments = {value / unit_size},
                            .text = label});
      group.provenance = row.provenance;
    }
    if (!group.bars.empty()) panel.groups.push_back(std::move(group));
  }
  return panel;
}

Scale bar_scale(const Figure& figure) {
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
  for (const Panel& panel : figure.panels) {
    for (const BarGroup& group : panel.groups) {
      for (const Bar& bar : group.bars) {
        if (!std::isfinite(bar.segments[0]) || bar.segments[0] <= 0) continue;
        low = std::min(low, bar.segments[0]);
        high = std::max(high, bar.segments[0]);
      }
    }
    if (high > kLogRatioOfBars * low) return Scale::kLog;
    low = std::numeric_limits<double>::infinity();
    high = 0;
  }
  return Scale::kLinear;
}

Figure cost_figure(const ReportData& data, const EstimateRun& run, const std::string& phase) {
  Figure figure{.id = "fig_cost_" + phase,
                .title = fmt::format("Latency and energy per token, {}", phase),
                .caption = fmt::format("Modelled cost of one token in {}, by system and model. In "
                                       "brackets: times the dense model on the same system.",
                                       phase),
                .x_label = "",
                .y_label = ""};
  figure.panels.push_back(cost_panel(
      data, run, phase, "Latency per token", "microseconds", 1e3,
      [](const CostRow& row) { return row.latency_per_token_ns(); }, format_latency));
  figure.panels.push_back(cost_panel(
      data, run, phase, "Energy per token", "microjoules", 1e6,
      [](const CostRow& row) { return row.energy_per_token_pj; }, format_energy));
  figure.y_scale = bar_scale(figure);
  return figure;
}

// Where the energy goes: components as shares of each bar.
Figure component_figure(const ReportData& data, const EstimateRun& run, const std::string& phase) {
  std::map<std::string, double> largest;
  std::vector<std::string> names;
  for (const CostRow& row : run.rows) {
    if (row.phase != phase) continue;
    double total = 0;
    for (const auto& [name, energy_pj] : row.energy_by_component_pj) {
      if (energy_pj > 0) total += energy_pj;
    }
    for (const auto& [name, energy_pj] : row.energy_by_component_pj) {
      if (!(energy_pj > 0)) continue;
      if (!largest.contains(name)) names.push_back(name);
      largest[name] = std::max(largest[name], energy_pj / total);
    }
  }
  // The components that matter least share the last colour.
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return largest[a] > largest[b];
  });
  const bool has_rest = names.size() > kMaxComponents;
  if (has_rest) names.resize(kMaxComponents - 1);

  Figure figure{
      .id = "fig_energy_" + phase,
      .title = fmt::format("Where the energy goes, {}", phase),
      .caption = fmt::format("Modelled energy in {} by component, as share of the whole.", phase),
      .x_label = "",
      .y_label = "",
      .y_is_percent = true,
      .segment_names = names};
  if (has_rest) figure.segment_names.push_back("others");
  Panel panel{.title = "", .value_label = "share of energy"};
  for (const std::string& system :
       distinct_names(run, [](const CostRow& row) { return row.system; })) {
    BarGroup group{.name = system};
    for (const CostRow& row : run.rows) {
      if (row.system != system || row.phase != phase) continue;
      Bar bar{.name = workload_label(data, run, row.workload)};
      bar.segments.assign(figure.segment_names.size(), 0.0);
      double total = 0;
      for (const auto& [name, energy_pj] : row.energy_by_component_pj) {
        if (!(energy_pj > 0)) continue;
        total += energy_pj;
        const auto at =
            static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
        bar.segments[at] += energy_pj;
      }
      if (!(total > 0)) continue;
      for (double& segment : bar.segments) segment /= total;
      group.bars.push_back(std::move(bar));
      group.provenance = row.provenance;
    }
    if (!group.bars.empty()) panel.groups.push_back(std::move(group));
  }
  if (!panel.groups.empty()) figure.panels.push_back(std::move(panel));
  return figure;
}

Table cost_table(const ReportData& data, const EstimateRun& run) {
  Table table{.id = "table_costs",
              .caption =
                  "Modelled cost; gains are against the dense model on the same system, "
                  "above 1 is a saving",
              .columns = {{"system", "system"},
                          {"phase", "phase"},
                          {"workload", "model"},
                          {"latency_per_token_ns", "latency/token", CellFormat::kLatency},
                          {"tokens_per_s", "tokens/s", CellFormat::kNumber},
                          {"energy_per_token_pj", "energy/token", CellFormat::kEnergy},
                          {"speedup_vs_dense", "speed-up", CellFormat::kNumber},
                          {"energy_gain_vs_dense", "energy gain", CellFormat::kNumber},
                          {"area_mm2", "area, mm2", CellFormat::kNumber}}};
  for (const std::string& system :
       distinct_names(run, [](const CostRow& row) { return row.system; })) {
    for (const CostRow& row : run.rows) {
      if (row.system != system) continue;
      const CostGain gain = gain_against(row, run.dense_row(row));
      table.add({row.system, row.phase, workload_label(data, run, row.workload),
                 row.latency_per_token_ns(), row.tokens_per_s, row.energy_per_token_pj,
                 gain.speedup, gain.energy_gain, row.area_mm2},
                row.provenance);
    }
  }
  return table;
}

Table component_table(const ReportData& data, const EstimateRun& run) {
  Table table{.id = "table_energy_components",
              .caption = "Modelled energy by component, per token",
              .columns = {{"system", "system"},
                          {"phase", "phase"},
                          {"workload", "model"},
                          {"component", "component"},
                          {"energy_per_token_pj", "energy/token", CellFormat::kEnergy}},
              .is_long = true};
  for (const CostRow& row : run.rows) {
    for (const auto& [name, energy_pj] : row.energy_by_component_pj) {
      table.add({row.system, row.phase, workload_label(data, run, row.workload), name,
                 energy_pj / row.tokens},
                row.provenance);
    }
  }
  return table;
}

Table constants_table(const EstimateRun& run) {
  Table table{.id = "table_constants",
              .caption = "Constants of the modelled systems, with their sources",
              .columns = {{"system", "system"},
                          {"key", "constant"},
                          {"value", "value", CellFormat::kNumber},
                          {"unit", "unit"},
                          {"source", "source"},
                          {"uncertain", "how sure"}},
              .is_long = true};
  for (const CostConstant& constant : run.constants) {
    table.add({constant.system, constant.key, constant.value, constant.unit, constant.source,
               constant.uncertain},
              constant.provenance);
  }
  return table;
}

}  // namespace

bool CostGain::saves_nothing() const {
  const bool saves_time = speedup >= kNoticeableGain;
  const bool saves_energy = energy_gain >= kNoticeableGain;
  return !saves_time && !saves_energy;
}

CostGain gain_against(const CostRow& row, const CostRow* dense) {
  if (dense == nullptr) return {};
  return {.speedup = dense->latency_per_token_ns() / row.latency_per_token_ns(),
          .energy_gain = dense->energy_per_token_pj / row.energy_per_token_pj};
}

std::string speedup_text(double speedup) {
  return ratio_text(speedup, "faster", "slower", "as fast");
}

std::string energy_gain_text(double gain) {
  return ratio_text(gain, "less energy", "more energy", "as much energy");
}

std::string headline_phase(const EstimateRun& run) {
  for (const CostRow& row : run.rows) {
    if (row.phase == "decode") return row.phase;
  }
  return run.rows.empty() ? "" : run.rows.front().phase;
}

std::vector<std::string> cost_sentences(const ReportData& data, const EstimateRun& run) {
  std::vector<std::string> sentences;
  const std::string phase = headline_phase(run);
  const auto systems = distinct_names(run, [](const CostRow& row) { return row.system; });
  const CostRow* best = nullptr;
  const CostRow* first_dense = nullptr;
  for (const std::string& system : systems) {
    std::vector<std::string> parts;
    for (const CostRow& row : run.rows) {
      if (row.system != system || row.phase != phase) continue;
      if (std::isfinite(row.energy_per_token_pj) &&
          (best == nullptr || row.energy_per_token_pj < best->energy_per_token_pj)) {
        best = &row;
      }
      const CostRow* const dense = run.dense_row(row);
      if (dense == &row && system == systems.front()) first_dense = &row;
      if (dense == nullptr || dense == &row) continue;
      const CostGain gain = gain_against(row, dense);
      parts.push_back(fmt::format("{} is {} with {}{}", workload_label(data, run, row.workload),
                                  speedup_text(gain.speedup), energy_gain_text(gain.energy_gain),
                                  gain.saves_nothing() ? ", so it saves nothing" : ""));
    }
    if (parts.empty()) continue;
    sentences.push_back(fmt::format("On {} (modelled, {}), against dense: {}.", system, phase,
                                    fmt::join(parts, "; ")));
  }
  if (best == nullptr || first_dense == nullptr || best->system == first_dense->system) {
    return sentences;
  }
  const CostGain gain = gain_against(*best, first_dense);
  sentences.push_back(fmt::format(
      "Least energy per token (modelled, {}): {} on {}, {} and {} than dense on {}.", phase,
      workload_label(data, run, best->workload), best->system, energy_gain_text(gain.energy_gain),
      speedup_text(gain.speedup), first_dense->system));
  return sentences;
}

Section cost_section(const ReportData& data) {
  Section section{.id = "costs", .title = "What it would cost on hardware (modelled)"};
  const auto num_shown =
      std::count_if(data.estimates.begin(), data.estimates.end(),
                    [&](const EstimateRun& run) { return !is_slc_point(data, run); });
  for (const EstimateRun& run : data.estimates) {
    if (run.rows.empty() || is_slc_point(data, run)) continue;
    const std::string suffix = num_shown > 1 ? "_" + run.info.name : "";
    for (std::string& sentence : cost_sentences(data, run)) {
      section.paragraphs.push_back(std::move(sentence));
    }
    for (const auto& [note, systems] : run.notes) {
      section.notes.push_back(fmt::format("{}: {}", fmt::join(systems, ", "), note));
    }
    std::vector<std::string> phases =
        distinct_names(run, [](const CostRow& row) { return row.phase; });
    std::stable_partition(phases.begin(), phases.end(),
                          [&](const std::string& phase) { return phase == headline_phase(run); });
    for (const std::string& phase : phases) {
      Figure costs = cost_figure(data, run, phase);
      costs.id += suffix;
      section.figures.push_back(std::move(costs));
      if (Figure parts = component_figure(data, run, phase); !parts.panels.empty()) {
        parts.id += suffix;
        section.figures.push_back(std::move(parts));
      }
    }
    for (Table table : {cost_table(data, run), component_table(data, run), constants_table(run)}) {
      table.id += suffix;
      if (!table.rows.empty()) section.tables.push_back(std::move(table));
    }
  }
  return section;
}

}  // namespace lowbank::report
