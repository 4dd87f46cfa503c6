#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/runs/slc_points.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

// HyFlexPIM (ISCA 2025): largest gains over ASADI with INT8, a machine whose constants are not
// public. The dense model in SLC cells on HyFlexPIM's own arrays stands in for it.
constexpr double kPublishedThroughputGain = 1.86;
constexpr double kPublishedEnergyGain = 1.45;

bool has_same_rows(const EstimateRun& a, const EstimateRun& b) {
  return a.mode == b.mode && std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(),
                                        [](const CostRow& x, const CostRow& y) {
                                          return x.workload == y.workload && x.system == y.system &&
                                                 x.phase == y.phase;
                                        });
}

// The estimate with all cells SLC that `run` is compared with; nullptr if there is none.
const EstimateRun* all_slc_run(const ReportData& data, const EstimateRun& run) {
  for (const EstimateRun& other : data.estimates) {
    if (other.slc_frac == 1 && has_same_rows(other, run)) return &other;
  }
  return nullptr;
}

double full_throughput(const CostRow& row) { return 1e9 / row.pipeline_period_ns; }

struct Best {
  const SlcGain* throughput = nullptr;
  const SlcGain* throughput_per_area = nullptr;
  const SlcGain* energy = nullptr;
};

// The best point of a mode among those that have both kinds of cells: without SLC cells no weight
// is protected.
Best best_of_mode(const std::vector<SlcGain>& gains, const std::string& mode) {
  Best best;
  const auto keep = [](const SlcGain*& kept, const SlcGain& gain, double SlcGain::*key) {
    if (std::isfinite(gain.*key) && (kept == nullptr || gain.*key > kept->*key)) kept = &gain;
  };
  for (const SlcGain& gain : gains) {
    if (gain.run->mode != mode || gain.run->slc_frac == 1 || gain.run->slc_frac == 0) continue;
    keep(best.throughput, gain, &SlcGain::throughput);
    keep(best.throughput_per_area, gain, &SlcGain::throughput_per_area);
    keep(best.energy, gain, &SlcGain::energy);
  }
  return best;
}

std::vector<std::string> modes_of(const std::vector<SlcGain>& gains) {
  std::vector<std::string> modes;
  for (const SlcGain& gain : gains) {
    if (std::find(modes.begin(), modes.end(), gain.run->mode) == modes.end()) {
      modes.push_back(gain.run->mode);
    }
  }
  return modes;
}

Figure gain_curves(const std::vector<SlcGain>& gains, const std::string& id,
                   const std::string& title, double published, double SlcGain::*key) {
  Figure figure{.id = id,
                .title = title,
                .caption =
                    "Against the dense model in SLC cells alone on the same arrays; above 1 is "
                    "better.",
                .x_label = "share of weights in SLC cells",
                .y_label = "gain",
                .x_is_percent = true};
  for (const std::string& mode : modes_of(gains)) {
    Panel panel{.title = mode + " mode",
                .references = {
                    {.name = fmt::format("published over ASADI, {}", published), .y = published}}};
    for (const SlcGain& gain : gains) {
      if (gain.run->mode != mode || !std::isfinite(gain.*key)) continue;
      panel.provenance = gain.row->provenance;
      const auto same =
          std::find_if(panel.series.begin(), panel.series.end(),
                       [&](const Series& series) { return series.name == gain.row->workload; });
      Series& series = same == panel.series.end()
                           ? panel.series.emplace_back(Series{.name = gain.row->workload})
                           : *same;
      series.points.push_back({.x = gain.run->slc_frac, .y = gain.*key});
    }
    for (Series& series : panel.series) {
      std::sort(series.points.begin(), series.points.end(),
                [](const Point& a, const Point& b) { return a.x < b.x; });
    }
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
  }
  return figure;
}

Table gains_table(const std::vector<SlcGain>& gains) {
  Table table{.id = "table_slc",
              .caption =
                  "SLC share against density; gains are over the dense model in SLC cells alone on "
                  "the same arrays",
              .columns = {{"mode", "mode"},
                          {"workload", "model"},
                          {"phase", "phase"},
                          {"slc_frac", "SLC", CellFormat::kShare},
                          {"tokens_per_s", "tokens/s, full pipeline", CellFormat::kNumber},
                          {"energy_per_token_pj", "energy/token", CellFormat::kEnergy},
                          {"num_chips", "chips", CellFormat::kInteger},
                          {"area_mm2", "area, mm2", CellFormat::kNumber},
                          {"throughput_gain", "throughput", CellFormat::kNumber},
                          {"throughput_per_area_gain", "per area", CellFormat::kNumber},
                          {"energy_gain", "energy", CellFormat::kNumber}},
              .is_long = true};
  for (const SlcGain& gain : gains) {
    const CostRow& row = *gain.row;
    table.add({gain.run->mode, row.workload, row.phase, gain.run->slc_frac, full_throughput(row),
               row.energy_per_token_pj, row.num_chips, row.area_mm2, gain.throughput,
               gain.throughput_per_area, gain.energy},
              row.provenance);
  }
  return table;
}

Table claims_table(const std::vector<SlcGain>& gains) {
  Table table{
      .id = "table_hyflexpim_claims",
      .caption =
          "HyFlexPIM's published gains over ASADI, and the largest with both kinds of cells "
          "over the dense model in SLC cells alone on the same arrays",
      .columns = {{"claim", "claim"},
                  {"mode", "mode"},
                  {"published", "published", CellFormat::kNumber},
                  {"value", "found", CellFormat::kNumber},
                  {"is_reached", "reached"},
                  {"where", "where"}}};
  for (const std::string& mode : modes_of(gains)) {
    const Best best = best_of_mode(gains, mode);
    const auto add = [&](const char* claim, double published, const SlcGain* gain,
                         double SlcGain::*key) {
      if (gain == nullptr) return;
      table.add(
          {claim, mode, published, gain->*key,
           std::round(gain->*key * 100) >= std::round(published * 100) ? "yes" : "no",
           fmt::format("{} at {} SLC, on {} chips", gain->row->workload,
                       format_share(gain->run->slc_frac), format_count(gain->row->num_chips))},
          gain->row->provenance);
    };
    add("throughput, up to", kPublishedThroughputGain, best.throughput, &SlcGain::throughput);
    add("throughput of equal area, up to", kPublishedThroughputGain, best.throughput_per_area,
        &SlcGain::throughput_per_area);
    add("energy, up to", kPublishedEnergyGain, best.energy, &SlcGain::energy);
  }
  return table;
}

}  // namespace

bool is_slc_point(const ReportData& data, const EstimateRun& run) {
  if (run.rows.empty() || all_slc_run(data, run) == nullptr) return false;
  return std::any_of(data.estimates.begin(), data.estimates.end(), [&](const EstimateRun& other) {
    return other.slc_frac != run.slc_frac && has_same_rows(other, run);
  });
}

std::vector<SlcGain> slc_gains(const ReportData& data) {
  std::vector<SlcGain> gains;
  for (const EstimateRun& run : data.estimates) {
    if (!is_slc_point(data, run)) continue;
    const EstimateRun& all_slc = *all_slc_run(data, run);
    for (const CostRow& row : run.rows) {
      if (!(row.pipeline_period_ns > 0)) continue;  // no RRAM
      SlcGain gain{.run = &run, .row = &row};
      if (const CostRow* const base = all_slc.dense_row(row)) {
        gain.throughput = full_throughput(row) / full_throughput(*base);
        gain.throughput_per_area = gain.throughput * base->area_mm2 / row.area_mm2;
        gain.energy = base->energy_per_token_pj / row.energy_per_token_pj;
      }
      gains.push_back(gain);
    }
  }
  return gains;
}

std::vector<std::string> slc_sentences(const ReportData& data) {
  std::vector<std::string> sentences;
  const std::vector<SlcGain> gains = slc_gains(data);
  for (const std::string& mode : modes_of(gains)) {
    const Best best = best_of_mode(gains, mode);
    if (best.throughput_per_area == nullptr || best.energy == nullptr) continue;
    sentences.push_back(fmt::format(
        "Both kinds of cells against SLC cells alone (modelled, {} mode): at most {} the "
        "throughput of equal "
        "area ({} at {} SLC) and {} less energy ({} at {} SLC); HyFlexPIM publishes {} and {} over "
        "ASADI, whose constants are not public.",
        mode, format_ratio(best.throughput_per_area->throughput_per_area),
        best.throughput_per_area->row->workload,
        format_share(best.throughput_per_area->run->slc_frac), format_ratio(best.energy->energy),
        best.energy->row->workload, format_share(best.energy->run->slc_frac),
        format_ratio(kPublishedThroughputGain), format_ratio(kPublishedEnergyGain)));
  }
  return sentences;
}

Section slc_section(const ReportData& data) {
  Section section{.id = "slc", .title = "SLC cells against MLC cells (modelled)"};
  const std::vector<SlcGain> gains = slc_gains(data);
  if (gains.empty()) return section;
  for (Figure figure :
       {gain_curves(gains, "fig_slc_throughput_per_area", "Throughput of equal area, pipeline full",
                    kPublishedThroughputGain, &SlcGain::throughput_per_area),
        gain_curves(gains, "fig_slc_energy", "Energy per token", kPublishedEnergyGain,
                    &SlcGain::energy)}) {
    if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
  }
  section.tables.push_back(claims_table(gains));
  section.tables.push_back(gains_table(gains));
  section.notes.emplace_back(
      "ASADI's constants are not public, nor are those of the other machines that HyFlexPIM's "
      "publication compares with; the dense model in SLC cells on the same arrays stands in, so "
      "the "
      "published gains are beside these figures, not their target");
  return section;
}

}  // namespace lowbank::report
