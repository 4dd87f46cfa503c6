#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/page/drawing.h"

namespace lowbank::report {
namespace {

constexpr double kCurveHeight = 250;  // of the axes with their labels, title apart

bool can_place(const Figure& figure, double x) {
  return std::isfinite(x) && (figure.x_scale == Scale::kLinear || x > 0);
}

void include_curves(const Figure& figure, const Panel& panel, ValueRange& x, ValueRange& y) {
  for (const Series& series : panel.series) {
    for (const Point& point : series.points) {
      if (!can_draw(figure, point.y) || !can_place(figure, point.x)) continue;
      x.include(point.x);
      y.include(point.y);
      if (can_draw(figure, point.y_low)) y.include(point.y_low);
      if (can_draw(figure, point.y_high)) y.include(point.y_high);
    }
  }
  for (const Reference& reference : panel.references) {
    if (reference.is_diagonal) {
      y.include(0);
      y.include(1);
    } else if (can_draw(figure, reference.y)) {
      y.include(reference.y);
    }
  }
}

// Air above and below the curves, so that no marker lies on the frame.
ValueRange with_margin(const ValueRange& range, Scale scale) {
  if (!(range.min < range.max)) return range;
  if (scale == Scale::kLog) {
    const double factor = std::pow(range.max / range.min, 0.06);
    return {range.min / factor, range.max * factor};
  }
  const double margin = (range.max - range.min) * 0.06;
  // A scale that begins a little below zero looks odd where no value is negative.
  return {range.min >= 0 ? std::max(0.0, range.min - margin) : range.min - margin,
          range.max + margin};
}

std::string point_tip(const Figure& figure, const Series& series, const Point& point) {
  std::string tip =
      fmt::format("{}: {} at {}", series.name, shown_value(point.y, figure.y_is_percent),
                  shown_value(point.x, figure.x_is_percent));
  if (std::isfinite(point.y_low) && std::isfinite(point.y_high)) {
    tip += fmt::format(" ({} to {})", shown_value(point.y_low, figure.y_is_percent),
                       shown_value(point.y_high, figure.y_is_percent));
  }
  return tip;
}

std::string draw_series(const Figure& figure, const Series& series, std::size_t style, double shift,
                        const AxisScale& x_axis, const AxisScale& y_axis) {
  std::string path;
  std::string bars;
  std::string markers;
  bool pen_is_down = false;
  double last_x = -1e9;
  for (std::size_t i = 0; i < series.points.size(); ++i) {
    const Point& point = series.points[i];
    if (!can_draw(figure, point.y) || !can_place(figure, point.x)) {
      pen_is_down = false;
      continue;
    }
    const double x = x_axis.map(point.x) + shift;
    const double y = y_axis.map(point.y);
    // Points closer than a third of a pixel only make the file large.
    if (pen_is_down && x - last_x < 0.3 && x >= last_x && i + 1 < series.points.size()) continue;
    last_x = x;
    path += fmt::format("{}{} {}", pen_is_down ? "L" : "M", px(x), px(y));
    pen_is_down = true;
    if (std::isfinite(point.y_low) && std::isfinite(point.y_high) && point.y_high > point.y_low) {
      const double low = y_axis.map(can_draw(figure, point.y_low) ? point.y_low : y_axis.min());
      const double high = y_axis.map(point.y_high);
      bars +=
          fmt::format("<path class=\"lb-l{} lb-err\" d=\"M{} {}h5M{} {}V{}M{} {}h5\"/>\n", style,
                      px(x - 2.5), px(low), px(x), px(low), px(high), px(x - 2.5), px(high));
    }
    if (series.has_markers) markers += svg_marker(style, x, y, point_tip(figure, series, point));
  }
  const std::string dashes = series.is_faint ? "" : kDashes[style];
  return fmt::format("<path class=\"{}\" d=\"{}\"{}/>\n", curve_class(series, style), path,
                     dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes)) +
         bars + markers;
}

}  // namespace

Drawing draw_curves(const Figure& figure, const Panel& panel) {
  ValueRange x_range;
  ValueRange y_range;
  if (figure.share_y) {
    for (const Panel& each : figure.panels) include_curves(figure, each, x_range, y_range);
  } else {
    include_curves(figure, panel, x_range, y_range);
  }
  y_range = with_margin(y_range, figure.y_scale);
  if (figure.y_is_percent && y_range.max > 1 && y_range.max < 1.1) y_range.max = 1;

  Drawing out;
  double top = 0;
  out.body += draw_title(panel, top);
  out.body +=
      svg_text(4, top + 14, figure.y_label + (figure.y_scale == Scale::kLog ? " (log scale)" : ""),
               "start", "lb-muted");
  top += 26;
  out.height = top + kCurveHeight;
  const double bottom = out.height - 42;
  const double right = kPanelWidth - 22;

  const AxisScale y_axis(figure.y_scale, y_range.min, y_range.max, bottom, top);
  const std::vector<Tick> y_ticks = y_axis.ticks(5, figure.y_is_percent);
  double widest = 0;
  for (const Tick& tick : y_ticks) widest = std::max(widest, text_width(tick.label, kTextSize));
  const double left = std::max(30.0, widest + 14);
  const AxisScale x_axis(figure.x_scale, x_range.min, x_range.max, left + 8, right);

  for (const Tick& tick : y_ticks) {
    const double y = y_axis.map(tick.value);
    out.body += svg_line(left, y, right + 8, y, "lb-grid");
    out.body += svg_text(left - 6, y + 4, tick.label, "end", "lb-muted");
  }
  out.body += svg_line(left, bottom, right + 8, bottom, "lb-axis");
  for (const Tick& tick : x_axis.ticks(5, figure.x_is_percent)) {
    if (figure.x_is_count && tick.value != std::round(tick.value)) continue;
    const double x = x_axis.map(tick.value);
    out.body += svg_line(x, bottom, x, bottom + 4, "lb-axis");
    out.body += svg_text(x, bottom + 17, figure.x_is_count ? format_count(tick.value) : tick.label,
                         "middle", "lb-muted");
  }
  out.body += svg_text((left + right) / 2, bottom + 36,
                       figure.x_label + (figure.x_scale == Scale::kLog ? " (log scale)" : ""),
                       "middle", "lb-muted");

  const std::vector<std::string> references = reference_names(figure);
  for (const Reference& reference : panel.references) {
    if (!reference.is_diagonal && !can_draw(figure, reference.y)) continue;
    const double y1 = reference.is_diagonal ? 0 : reference.y;
    const double y2 = reference.is_diagonal ? 1 : reference.y;
    const double x1 = reference.is_diagonal ? x_axis.map(0) : left;
    const double x2 = reference.is_diagonal ? x_axis.map(1) : right + 8;
    out.body += svg_line(x1, y_axis.map(y1), x2, y_axis.map(y2), "lb-ref",
                         kReferenceDashes[index_of(references, reference.name) % 2]);
  }

  const std::vector<std::string> names = series_names(figure);
  bool has_error_bars = false;
  for (const Series& series : panel.series) {
    for (const Point& point : series.points) has_error_bars |= std::isfinite(point.y_low);
  }
  for (const bool is_faint : {true, false}) {
    for (std::size_t i = 0; i < panel.series.size(); ++i) {
      if (panel.series[i].is_faint != is_faint) continue;
      // Error bars at one x are drawn next to each other, not on top of each other.
      const double middle = static_cast<double>(panel.series.size() - 1) / 2;
      const double shift = has_error_bars ? 3.0 * (static_cast<double>(i) - middle) : 0;
      out.body +=
          draw_series(figure, panel.series[i], index_of(names, panel.series[i].name) % kNumStyles,
                      shift, x_axis, y_axis);
    }
  }
  return out;
}

}  // namespace lowbank::report
