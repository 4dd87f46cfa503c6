#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "report/runs/noise_comparison.h"
#include "report/sections/labels.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

constexpr double kLogRatio = 20;  // a range this wide is unreadable on a linear axis

// The scale that the widest panel needs.
Scale scale_of_curves(const Figure& figure) {
  for (const Panel& panel : figure.panels) {
    double low = std::numeric_limits<double>::infinity();
    double high = 0;
    for (const Series& series : panel.series) {
      for (const Point& point : series.points) {
        if (!(point.y > 0) || !std::isfinite(point.y)) continue;
        low = std::min(low, point.y);
        high = std::max(high, point.y);
      }
    }
    if (high > kLogRatio * low) return Scale::kLog;
  }
  return Scale::kLinear;
}

void add_references(const NoisyRun& run, Panel& panel) {
  if (std::isfinite(run.quantised_perplexity)) {
    panel.references.push_back({.name = "integer codes, no noise", .y = run.quantised_perplexity});
  }
  if (std::isfinite(run.clean_perplexity)) {
    panel.references.push_back({.name = "float checkpoint", .y = run.clean_perplexity});
  }
}

Series curve_series(const std::string& name, const NoiseCurve& curve) {
  Series series{.name = name};
  for (const NoisePoint& point : curve.points) {
    series.points.push_back(
        {.x = point.slc_frac, .y = point.mean, .y_low = point.ci95_low, .y_high = point.ci95_high});
  }
  return series;
}

// Compares the selections, with a panel for each run.
Figure noise_figure(const ReportData& data) {
  Figure figure{.id = "fig_noise",
                .title = "Perplexity against SLC share",
                .caption =
                    "Mean over noise draws with its 95 % interval. The share of ranks named "
                    "below is kept in error-free SLC cells, the rest in noisy MLC cells.",
                .x_label = "share of ranks in SLC cells",
                .y_label = "perplexity",
                .x_is_percent = true,
                .share_y = false};
  for (const NoisyRun& run : data.noisy) {
    Panel panel{.title = fmt::format("{}, {} cells", model_label(data, run.info),
                                     encoding_label(run.noise.encoding)),
                .provenance = run.info.provenance};
    for (const NoiseCurve& curve : run.curves) {
      panel.series.push_back(curve_series(importance_label(curve.importance), curve));
    }
    add_references(run, panel);
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
  }
  figure.y_scale = scale_of_curves(figure);
  return figure;
}

// Compares the encodings, with a panel for each model and its first selection.
Figure encoding_figure(const ReportData& data) {
  Figure figure{.id = "fig_encodings",
                .title = "Cell encodings compared",
                .caption =
                    "The same model and selection, its integers written to cells in "
                    "different ways. Mean over noise draws with its 95 % interval.",
                .x_label = "share of ranks in SLC cells",
                .y_label = "perplexity",
                .x_is_percent = true};
  for (const NoisyRun& run : data.noisy) {
    const NoiseCurve* const curve = headline_curve(run);
    if (curve == nullptr) continue;
    const std::string title = fmt::format("{}, {} selection", model_label(data, run.info),
                                          importance_label(curve->importance));
    auto panel = std::find_if(figure.panels.begin(), figure.panels.end(), [&](const Panel& each) {
      return each.title == title && each.provenance == run.info.provenance;
    });
    if (panel == figure.panels.end()) {
      figure.panels.push_back({.title = title, .provenance = run.info.provenance});
      panel = figure.panels.end() - 1;
      add_references(run, *panel);
    }
    panel->series.push_back(curve_series(encoding_label(run.noise.encoding), *curve));
  }
  std::erase_if(figure.panels, [](const Panel& panel) { return panel.series.size() < 2; });
  figure.y_scale = scale_of_curves(figure);
  return figure;
}

// Encodings and selections side by side, one column for each SLC share.
Table encoding_table(const ReportData& data) {
  std::set<double> shares;
  for (const NoisyRun& run : data.noisy) {
    for (const NoiseCurve& curve : run.curves) {
      for (const NoisePoint& point : curve.points) shares.insert(point.slc_frac);
    }
  }
  Table table{
      .id = "table_encodings",
      .caption =
          "Mean perplexity by model, cell encoding and selection, for each share of "
          "ranks in SLC cells",
      .columns = {{"model", "model"}, {"encoding", "encoding"}, {"importance", "selection"}}};
  for (const double share : shares) {
    table.columns.push_back({fmt::format("perplexity_slc_{}", share), "SLC " + format_share(share),
                             CellFormat::kNumber});
  }
  for (const NoisyRun& run : data.noisy) {
    for (const NoiseCurve& curve : run.curves) {
      std::vector<TableCell> cells = {model_label(data, run.info),
                                      encoding_label(run.noise.encoding),
                                      importance_label(curve.importance)};
      for (const double share : shares) {
        const NoisePoint* const point = find_point(curve, share);
        cells.emplace_back(point == nullptr ? kNotReported : point->mean);
      }
      table.add(std::move(cells), run.info.provenance);
    }
  }
  return table;
}

Table selection_table(const ReportData& data) {
  Table table{.id = "table_selection",
              .caption =
                  "Does choosing ranks by importance pay? 95 % intervals that overlap count "
                  "as no significant difference",
              .columns = {{"model", "model"},
                          {"encoding", "encoding"},
                          {"selection", "selection"},
                          {"against", "against"},
                          {"num_better", "better at", CellFormat::kInteger},
                          {"num_equal", "no difference at", CellFormat::kInteger},
                          {"num_worse", "worse at", CellFormat::kInteger},
                          {"num_shares", "of SLC shares", CellFormat::kInteger}}};
  for (const NoisyRun& run : data.noisy) {
    const NoiseCurve* const learned = learned_curve(run);
    if (learned == nullptr) continue;
    for (const NoiseCurve& other : run.curves) {
      if (&other == learned) continue;
      const CurveComparison result = compare_curves(*learned, other);
      table.add({model_label(data, run.info), encoding_label(run.noise.encoding),
                 importance_label(learned->importance), importance_label(other.importance),
                 static_cast<double>(result.num_better), static_cast<double>(result.num_equal),
                 static_cast<double>(result.num_worse), static_cast<double>(result.num_points())},
                run.info.provenance);
    }
  }
  return table;
}

Table points_table(const ReportData& data) {
  Table table{.id = "table_noise_points",
              .caption = "Every point with its 95 % interval",
              .columns = {{"run", "run"},
                          {"model", "model"},
                          {"encoding", "encoding"},
                          {"importance", "selection"},
                          {"slc_frac", "SLC share", CellFormat::kShare},
                          {"num_trials", "trials", CellFormat::kInteger},
                          {"num_diverged", "diverged", CellFormat::kInteger},
                          {"perplexity", "perplexity", CellFormat::kNumber},
                          {"ci95_low", "from", CellFormat::kNumber},
                          {"ci95_high", "to", CellFormat::kNumber}},
              .is_long = true};
  for (const NoisyRun& run : data.noisy) {
    for (const NoiseCurve& curve : run.curves) {
      for (const NoisePoint& point : curve.points) {
        table.add({run.info.name, model_label(data, run.info), encoding_label(run.noise.encoding),
                   curve.importance, point.slc_frac, point.num_trials, point.num_diverged,
                   point.mean, point.ci95_low, point.ci95_high},
                  run.info.provenance);
      }
    }
  }
  return table;
}

}  // namespace

Section noise_section(const ReportData& data) {
  Section section{.id = "noise", .title = "Noise"};
  if (data.noisy.empty()) return section;
  std::set<std::string> kinds;
  for (const NoisyRun& run : data.noisy) {
    kinds.insert(fmt::format("{} noise, sigma {}, {}-bit MLC cells", run.noise.model,
                             format_exact(run.noise.sigma), format_exact(run.noise.cell_bits)));
  }
  section.paragraphs.push_back(fmt::format(
      "The perplexities are measured with noise drawn from a model of the cells ({}). An SLC cell "
      "holds one bit and is taken as error-free, an MLC cell holds several and is noisy.",
      fmt::join(kinds, "; ")));
  double num_diverged = 0;
  for (const NoisyRun& run : data.noisy) {
    for (const NoiseCurve& curve : run.curves) {
      for (const NoisePoint& point : curve.points) {
        if (point.num_diverged > 0) num_diverged += point.num_diverged;
      }
    }
  }
  if (num_diverged > 0) {
    section.paragraphs.push_back(fmt::format(
        "{} noise draws gave no finite loss; they are left out of the means, which are too good "
        "there.",
        format_count(num_diverged)));
  }
  for (Figure figure : {noise_figure(data), encoding_figure(data)}) {
    if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
  }
  for (Table table : {encoding_table(data), selection_table(data), points_table(data)}) {
    if (!table.rows.empty()) section.tables.push_back(std::move(table));
  }
  return section;
}

}  // namespace lowbank::report
