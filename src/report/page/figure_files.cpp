#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "report/page/figure.h"
#include "report/page/table.h"

namespace lowbank::report {
namespace {

// A string literal. Those of JSON are also valid in Python.
std::string python_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string provenance_fields(const Provenance& provenance) {
  return fmt::format("{},{}\n", provenance.name(), csv_field(provenance.detail()));
}

std::string curves_csv(const Figure& figure) {
  std::string out = "panel,kind,series,x,y,y_low,y_high,provenance,provenance_detail\n";
  for (const Panel& panel : figure.panels) {
    const std::string title = csv_field(panel.title);
    double x_min = std::numeric_limits<double>::infinity();
    double x_max = -x_min;
    for (const Series& series : panel.series) {
      for (const Point& point : series.points) {
        x_min = std::min(x_min, point.x);
        x_max = std::max(x_max, point.x);
        out += fmt::format("{},curve,{},{},{},{},{},{}", title, csv_field(series.name),
                           format_exact(point.x), format_exact(point.y), format_exact(point.y_low),
                           format_exact(point.y_high), provenance_fields(panel.provenance));
      }
    }
    for (const Reference& reference : panel.references) {
      const Point ends[] = {
          {.x = reference.is_diagonal ? 0 : x_min, .y = reference.is_diagonal ? 0 : reference.y},
          {.x = reference.is_diagonal ? 1 : x_max, .y = reference.is_diagonal ? 1 : reference.y}};
      for (const Point& end : ends) {
        out += fmt::format("{},reference,{},{},{},,,{}", title, csv_field(reference.name),
                           format_exact(end.x), format_exact(end.y),
                           provenance_fields(panel.provenance));
      }
    }
  }
  return out;
}

std::string bars_csv(const Figure& figure) {
  std::string out = "panel,unit,group,bar,segment,value,provenance,provenance_detail\n";
  for (const Panel& panel : figure.panels) {
    for (const BarGroup& group : panel.groups) {
      for (const Bar& bar : group.bars) {
        for (std::size_t s = 0; s < bar.segments.size(); ++s) {
          const bool has_name = s < figure.segment_names.size();
          out +=
              fmt::format("{},{},{},{},{},{},{}", csv_field(panel.title),
                          csv_field(panel.value_label), csv_field(group.name), csv_field(bar.name),
                          has_name ? csv_field(figure.segment_names[s]) : "",
                          format_exact(bar.segments[s]), provenance_fields(group.provenance));
        }
      }
    }
  }
  return out;
}

constexpr const char* kScriptHead =
    R"(# Redraws {0}.svg from {0}.csv: python3 {0}.py (needs matplotlib)
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

here = Path(__file__).resolve()
rows = list(csv.DictReader(here.with_suffix(".csv").open(encoding="utf-8")))


def distinct(key, rows):
    return list(dict.fromkeys(row[key] for row in rows))


panels = distinct("panel", rows)
figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False,
                            layout="constrained"{1})
for axis, panel in zip(axes[0], panels):
    part = [row for row in rows if row["panel"] == panel]
)";

constexpr const char* kCurvesBody = R"(    for name in distinct("series", part):
        points = [row for row in part if row["series"] == name and row["y"]]
        x = [float(row["x"]) for row in points]
        y = [float(row["y"]) for row in points]
        if points and points[0]["kind"] == "reference":
            axis.plot(x, y, "--", color="grey", label=name)
            continue
        ends = [(row["y_low"] or row["y"], row["y_high"] or row["y"]) for row in points]
        low = [max(0.0, value - float(end[0])) for value, end in zip(y, ends)]
        high = [max(0.0, float(end[1]) - value) for value, end in zip(y, ends)]
        axis.errorbar(x, y, yerr=[low, high], capsize=2, label=name,
                      marker="o" if len(x) < 40 else None, markersize=3)
    axis.set(title=panel, xlabel={}, ylabel={}, xscale={}, yscale={})
)";

constexpr const char* kBarsBody =
    R"(    bars = list(dict.fromkeys((row["group"], row["bar"]) for row in part))
    names = [": ".join(filter(None, bar)) for bar in bars]
    left = [0.0] * len(bars)
    for segment in distinct("segment", part):
        size = [0.0] * len(bars)
        for row in part:
            if row["segment"] == segment and row["value"]:
                size[bars.index((row["group"], row["bar"]))] = float(row["value"])
        axis.barh(names, size, left=left, label=segment or None)
        left = {}
    axis.invert_yaxis()
    axis.set(title=panel, xlabel=part[0]["unit"], xscale={})
)";

constexpr const char* kColumnsBody = R"(    groups = distinct("group", part)
    names = distinct("bar", part)
    width = 0.86 / len(names)
    for i, name in enumerate(names):
        heights = {row["group"]: float(row["value"]) for row in part
                   if row["bar"] == name and row["value"]}
        at = [k for k, group in enumerate(groups) if group in heights]
        axis.bar([k + (i - (len(names) - 1) / 2) * width for k in at],
                 [heights[groups[k]] for k in at], width, label=name)
    axis.set_xticks(range(len(groups)), [group.replace(" ", "\n") for group in groups],
                    fontsize="small")
    axis.set(title=panel, ylabel=part[0]["unit"])
)";

constexpr const char* kScriptFoot = R"(handles, labels = axes[0][0].get_legend_handles_labels()
if labels:
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
figure.savefig(here.with_name(here.stem + "_redrawn.png"), dpi=200)
)";

}  // namespace

std::string figure_csv(const Figure& figure) {
  return figure.has_bars() ? bars_csv(figure) : curves_csv(figure);
}

std::string figure_script(const Figure& figure) {
  const std::string scale = figure.y_scale == Scale::kLog ? "\"log\"" : "\"linear\"";
  const std::string x_scale = figure.x_scale == Scale::kLog ? "\"log\"" : "\"linear\"";
  const bool has_bars = figure.has_bars();
  std::string script =
      fmt::format(fmt::runtime(kScriptHead), figure.id,
                  figure.share_y && (!has_bars || figure.has_columns) ? ", sharey=True" : "");
  if (figure.has_columns) {
    script += kColumnsBody;
  } else if (has_bars) {
    script +=
        fmt::format(fmt::runtime(kBarsBody),
                    figure.is_diverging ? "left" : "[a + b for a, b in zip(left, size)]", scale);
  } else {
    script += fmt::format(fmt::runtime(kCurvesBody), python_text(figure.x_label),
                          python_text(figure.y_label), x_scale, scale);
  }
  return script + kScriptFoot;
}

}  // namespace lowbank::report
