#include <algorithm>
#include <cctype>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "report/sections/labels.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

constexpr std::size_t kMostPanels = 6;
constexpr std::size_t kMostConstants = 10;
constexpr std::size_t kMostOpenRows = 60;
constexpr double kLeastSwing = 5e-4;  // half a tenth of a per cent

template <class Get>
auto distinct(const std::vector<CostRow>& rows, Get get) {
  std::vector<decltype(get(rows.front()))> values;
  for (const CostRow& row : rows) {
    if (std::find(values.begin(), values.end(), get(row)) == values.end()) {
      values.push_back(get(row));
    }
  }
  return values;
}

std::vector<double> batches_of(const std::vector<CostRow>& rows) {
  return distinct(rows, [](const CostRow& row) -> double { return row.batch; });
}

std::vector<double> contexts_of(const std::vector<CostRow>& rows) {
  return distinct(rows, [](const CostRow& row) -> double { return row.context; });
}

std::string series_name(const ReportData& data, const EstimateRun& run, const CostRow& row) {
  return run.workloads.size() < 2
             ? row.system
             : fmt::format("{}, {}", row.system, workload_label(data, run, row.workload));
}

// Curves of the rows that `take` chooses, a point each.
template <class Take, class X, class Y>
Panel curve_panel(const ReportData& data, const EstimateRun& run, std::string title, Take take, X x,
                  Y y) {
  Panel panel{.title = std::move(title)};
  for (const CostRow& row : run.sweep) {
    if (!take(row) || !std::isfinite(x(row)) || !std::isfinite(y(row))) continue;
    const std::string name = series_name(data, run, row);
    auto series = std::find_if(panel.series.begin(), panel.series.end(),
                               [&](const Series& each) { return each.name == name; });
    if (series == panel.series.end()) {
      series = panel.series.insert(panel.series.end(), Series{.name = name});
    }
    series->points.push_back({.x = x(row), .y = y(row)});
    panel.provenance = row.provenance;
  }
  return panel;
}

void add_batch_figure(const ReportData& data, const EstimateRun& run, const std::string& suffix,
                      Section& section) {
  if (batches_of(run.sweep).size() < 2) return;
  Figure figure{.id = "fig_throughput_latency" + suffix,
                .title = "Throughput against latency",
                .caption =
                    "Modelled tokens per second of all sequences against the time of an "
                    "output token; a point for each batch, larger ones to the right and up.",
                .x_label = "time per output token, ms",
                .y_label = "tokens/s",
                .x_scale = Scale::kLog,
                .y_scale = Scale::kLog};
  for (const double context : contexts_of(run.sweep)) {
    if (figure.panels.size() == kMostPanels) break;
    Panel panel = curve_panel(
        data, run, fmt::format("context {}", format_count(context)),
        [&](const CostRow& row) { return row.phase == "decode" && row.context == context; },
        [](const CostRow& row) { return row.time_per_output_token_s * 1e3; },
        [](const CostRow& row) { return row.tokens_per_s; });
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
  }
  if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
}

void add_context_figure(const ReportData& data, const EstimateRun& run, const std::string& suffix,
                        Section& section) {
  if (contexts_of(run.sweep).size() < 2) return;
  Figure figure{.id = "fig_context" + suffix,
                .title = "Times over the context",
                .caption =
                    "Modelled time to the first token (the prompt) and time per output "
                    "token, at the first batch.",
                .x_label = "context, tokens",
                .y_label = "ms",
                .x_scale = Scale::kLog,
                .y_scale = Scale::kLog,
                .share_y = false};
  const double batch = run.sweep.front().batch;
  const auto context_of = [](const CostRow& row) -> double { return row.context; };
  Panel first = curve_panel(
      data, run, "time to first token",
      [&](const CostRow& row) { return row.phase == "prefill" && row.batch == batch; }, context_of,
      [](const CostRow& row) { return row.time_to_first_token_s * 1e3; });
  Panel later = curve_panel(
      data, run, "time per output token",
      [&](const CostRow& row) { return row.phase == "decode" && row.batch == batch; }, context_of,
      [](const CostRow& row) { return row.time_per_output_token_s * 1e3; });
  for (Panel* const panel : {&first, &later}) {
    if (!panel->series.empty()) figure.panels.push_back(std::move(*panel));
  }
  if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
}

Table sweep_table(const ReportData& data, const EstimateRun& run) {
  Table table{.id = "table_sweep",
              .caption = "Modelled cost at every batch and context",
              .columns = {{"system", "system"},
                          {"workload", "model"},
                          {"phase", "phase"},
                          {"batch", "batch", CellFormat::kInteger},
                          {"context", "context", CellFormat::kInteger},
                          {"output_tokens", "output tokens", CellFormat::kInteger},
                          {"latency_ns", "latency", CellFormat::kLatency},
                          {"time_to_first_token_s", "first token", CellFormat::kSeconds},
                          {"time_per_output_token_s", "output token", CellFormat::kSeconds},
                          {"tokens_per_s", "tokens/s", CellFormat::kNumber},
                          {"energy_per_token_pj", "energy/token", CellFormat::kEnergy}},
              .is_long = true};
  for (const CostRow& row : run.sweep) {
    table.add({row.system, workload_label(data, run, row.workload), row.phase, row.batch,
               row.context, row.output_tokens, row.latency_ns, row.time_to_first_token_s,
               row.time_per_output_token_s, row.tokens_per_s, row.energy_per_token_pj},
              row.provenance);
  }
  return table;
}

Table crossing_table(const ReportData& data, const EstimateRun& run, bool of_operators) {
  Table table{.id = of_operators ? "table_break_even" : "table_crossovers",
              .caption = of_operators
                             ? "Where a single operator takes less than on the other system, or, "
                               "over its rank, than the dense layer"
                             : "Batches and contexts at which one system takes less than another",
              .columns = {{"workload", "model"},
                          {"phase", "phase"},
                          {"operator", "operator"},
                          {"system", "system"},
                          {"versus", "against"},
                          {"axis", "over"},
                          {"from", "from", CellFormat::kInteger},
                          {"to", "to", CellFormat::kInteger},
                          {"less_time", "less time"},
                          {"less_energy", "less energy"}}};
  for (const CostCrossing& crossing : run.crossings) {
    if (crossing.op.empty() == of_operators) continue;
    table.add({workload_label(data, run, crossing.workload), crossing.phase,
               of_operators ? crossing.op : std::string("all"), crossing.system, crossing.versus,
               crossing.axis, crossing.from, crossing.to, crossing.better, crossing.less_energy},
              crossing.provenance);
  }
  table.is_long = table.rows.size() > kMostOpenRows;
  return table;
}

double swing(double low, double high) {
  return std::max(std::abs(std::log(low)), std::abs(std::log(high)));
}

// The constants that matter most for time, and for energy, as two panels.
Figure tornado(const ReportData& data, const EstimateRun& run, const CostSensitivity& result) {
  const std::string part = format_share(result.part);
  std::string id =
      fmt::format("fig_tornado_{}_{}_{}", result.system, result.phase, result.workload);
  for (char& c : id) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  Figure figure{.id = std::move(id),
                .title = fmt::format("What matters on {}, {} of {}", result.system, result.phase,
                                     workload_label(data, run, result.workload)),
                .caption = fmt::format("Modelled change of time and energy when a constant is {} "
                                       "smaller or larger; the ten that matter most for each.",
                                       part),
                .x_label = "",
                .y_label = "",
                .y_is_percent = true,
                .segment_names = {"-" + part, "+" + part},
                .is_diverging = true};
  const auto add = [&](const std::string& title, double EstimateResult::Sensitivity::Effect::*low,
                       double EstimateResult::Sensitivity::Effect::*high) {
    std::vector<EstimateResult::Sensitivity::Effect> effects = result.effects;
    std::erase_if(effects, [&](const auto& effect) {  // some systems have no known energy
      return !std::isfinite(effect.*low) || !std::isfinite(effect.*high);
    });
    std::stable_sort(effects.begin(), effects.end(), [&](const auto& a, const auto& b) {
      return swing(a.*low, a.*high) > swing(b.*low, b.*high);
    });
    BarGroup group{.name = "", .provenance = result.provenance};
    for (const auto& effect : effects) {
      if (group.bars.size() == kMostConstants) break;
      if (swing(effect.*low, effect.*high) < kLeastSwing) break;
      group.bars.push_back({.name = effect.key,
                            .segments = {effect.*low - 1, effect.*high - 1},
                            .text = fmt::format("{:+.1f} / {:+.1f} %", 100 * (effect.*low - 1),
                                                100 * (effect.*high - 1))});
    }
    if (group.bars.empty()) return;
    figure.panels.push_back(
        {.title = title, .groups = {std::move(group)}, .value_label = "change"});
  };
  add("time", &EstimateResult::Sensitivity::Effect::time_at_low,
      &EstimateResult::Sensitivity::Effect::time_at_high);
  add("energy", &EstimateResult::Sensitivity::Effect::energy_at_low,
      &EstimateResult::Sensitivity::Effect::energy_at_high);
  return figure;
}

Table sensitivity_table(const ReportData& data, const EstimateRun& run) {
  Table table{.id = "table_sensitivity",
              .caption = "What every constant does when it is smaller or larger",
              .columns = {{"system", "system"},
                          {"workload", "model"},
                          {"phase", "phase"},
                          {"constant", "constant"},
                          {"unit", "unit"},
                          {"value", "value", CellFormat::kNumber},
                          {"part", "change", CellFormat::kShare},
                          {"time_at_low", "time, smaller", CellFormat::kPercent},
                          {"time_at_high", "time, larger", CellFormat::kPercent},
                          {"energy_at_low", "energy, smaller", CellFormat::kPercent},
                          {"energy_at_high", "energy, larger", CellFormat::kPercent}},
              .is_long = true};
  for (const CostSensitivity& result : run.sensitivities) {
    for (const auto& effect : result.effects) {
      table.add({result.system, workload_label(data, run, result.workload), result.phase,
                 effect.key, effect.unit, effect.value, result.part, effect.time_at_low,
                 effect.time_at_high, effect.energy_at_low, effect.energy_at_high},
                result.provenance);
    }
  }
  return table;
}

std::string suffix_of(const ReportData& data, const EstimateRun& run) {
  return data.estimates.size() > 1 ? "_" + run.info.name : "";
}

void add_table(Table table, const std::string& suffix, Section& section) {
  if (table.rows.empty()) return;
  table.id += suffix;
  section.tables.push_back(std::move(table));
}

}  // namespace

Section sweep_section(const ReportData& data) {
  Section section{.id = "sweeps", .title = "Batches, contexts and crossings (modelled)"};
  for (const EstimateRun& run : data.estimates) {
    const std::string suffix = suffix_of(data, run);
    if (!run.sweep.empty()) {
      add_batch_figure(data, run, suffix, section);
      add_context_figure(data, run, suffix, section);
    }
    add_table(sweep_table(data, run), suffix, section);
    add_table(crossing_table(data, run, /*of_operators=*/false), suffix, section);
    add_table(crossing_table(data, run, /*of_operators=*/true), suffix, section);
  }
  return section;
}

Section sensitivity_section(const ReportData& data) {
  Section section{.id = "sensitivity", .title = "Which constants matter (modelled)"};
  for (const EstimateRun& run : data.estimates) {
    const std::string suffix = suffix_of(data, run);
    for (const CostSensitivity& result : run.sensitivities) {
      Figure figure = tornado(data, run, result);
      figure.id += suffix;
      if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
    }
    add_table(sensitivity_table(data, run), suffix, section);
  }
  return section;
}

}  // namespace lowbank::report
