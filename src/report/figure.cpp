#include "report/figure.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "core/text.h"
#include "report/markup.h"

namespace lowbank {
namespace {

// One panel is as wide as a phone: at 360 pixels its 12-pixel text is still legible.
constexpr double kPanelWidth = 400;
constexpr double kCurveHeight = 250;  // of the axes with their labels, title apart
constexpr double kTextSize = 12;
constexpr double kTitleSize = 13.5;
constexpr double kLineHeight = 17;
constexpr std::size_t kNumStyles = 8;

// Okabe and Ito's colours, which colour-blind readers tell apart; brighter ones for dark pages.
constexpr std::array<const char*, kNumStyles> kLightColours = {
    "#0072b2", "#d55e00", "#009e73", "#b8578f", "#b37a00", "#3a96c7", "#5b5b5b", "#7a4fbf"};
constexpr std::array<const char*, kNumStyles> kDarkColours = {
    "#58b0ea", "#ff8a45", "#35cf9f", "#eb9cc6", "#f0b43c", "#a4d8f5", "#b9b9b9", "#b79bf0"};
constexpr std::array<const char*, kNumStyles> kDashes = {"",        "7 3",     "2 2.5", "9 3 2 3",
                                                         "5 2 1 2", "1.5 1.5", "12 3",  "4 4"};
constexpr std::array<const char*, 2> kReferenceDashes = {"6 4", "1.5 3.5"};

// Helvetica and its relatives: 0.56 of the size on average, wide capitals made up for by i and l.
double text_width(std::string_view text, double size) {
  return 0.57 * size * static_cast<double>(count_code_points(text));
}

std::string clip_text(const std::string& text, double width, double size) {
  const auto room = static_cast<std::int64_t>(width / (0.57 * size));
  if (count_code_points(text) <= room) return text;
  return std::string(truncate_code_points(text, std::max<std::int64_t>(room - 2, 1))) + "..";
}

std::vector<std::string> wrap_text(const std::string& text, double width, double size) {
  std::vector<std::string> lines;
  std::string line;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    const std::string word = text.substr(start, end - start);
    start = end + 1;
    if (!line.empty() && text_width(line + " " + word, size) > width) {
      lines.push_back(line);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + clip_text(word, width, size);
  }
  if (!line.empty()) lines.push_back(line);
  if (lines.size() > 3) lines.resize(3);
  return lines;
}

std::string px(double value) {
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string svg_text(double x, double y, const std::string& text, const std::string& anchor,
                     const std::string& css_class, double size = kTextSize) {
  return fmt::format(
      "<text class=\"{}\" x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{}\">{}</text>\n",
      css_class, px(x), px(y), px(size), anchor, escape_markup(text));
}

std::string svg_line(double x1, double y1, double x2, double y2, const std::string& css_class,
                     const std::string& dashes = "") {
  return fmt::format("<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"{}/>\n", css_class,
                     px(x1), px(y1), px(x2), px(y2),
                     dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
}

std::string marker_path(std::size_t style, double x, double y) {
  const auto at = [&](double dx, double dy) { return px(x + dx) + " " + px(y + dy); };
  switch (style % 6) {
    case 0:
      return fmt::format("M{}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z", at(-4, 0));
    case 1:
      return fmt::format("M{}h7v7h-7Z", at(-3.5, -3.5));
    case 2:
      return fmt::format("M{}L{}L{}Z", at(0, -4.8), at(4.6, 3.4), at(-4.6, 3.4));
    case 3:
      return fmt::format("M{}L{}L{}L{}Z", at(0, -5), at(5, 0), at(0, 5), at(-5, 0));
    case 4:
      return fmt::format("M{}L{}L{}Z", at(0, 4.8), at(4.6, -3.4), at(-4.6, -3.4));
    default:
      return fmt::format("M{}h3v-3h3v3h3v3h-3v3h-3v-3h-3Z", at(-4.5, -1.5));
  }
}

std::string svg_marker(std::size_t style, double x, double y, const std::string& tip) {
  return fmt::format("<path class=\"lb-f{} lb-mark\" d=\"{}\">{}</path>\n", style,
                     marker_path(style, x, y),
                     tip.empty() ? "" : "<title>" + escape_markup(tip) + "</title>");
}

std::size_t index_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

std::vector<std::string> series_names(const Figure& figure) {
  std::vector<std::string> names;
  for (const Panel& panel : figure.panels) {
    for (const Series& series : panel.series) {
      if (index_of(names, series.name) == names.size()) names.push_back(series.name);
    }
  }
  return names;
}

std::vector<std::string> reference_names(const Figure& figure) {
  std::vector<std::string> names;
  for (const Panel& panel : figure.panels) {
    for (const Reference& reference : panel.references) {
      if (index_of(names, reference.name) == names.size()) names.push_back(reference.name);
    }
  }
  return names;
}

std::vector<std::string> bar_names(const Figure& figure) {
  std::vector<std::string> names;
  for (const Panel& panel : figure.panels) {
    for (const BarGroup& group : panel.groups) {
      for (const Bar& bar : group.bars) {
        if (index_of(names, bar.name) == names.size()) names.push_back(bar.name);
      }
    }
  }
  return names;
}

// An entry is drawn in a box of 30 x 14.
// A faint curve has the colour of the axes: it is there to show the scatter, not to be told apart.
std::string curve_class(const Series& series, std::size_t style) {
  return series.is_faint ? "lb-faint" : fmt::format("lb-l{} lb-curve", style);
}

struct LegendEntry {
  std::string name;
  std::string swatch;
};

std::vector<LegendEntry> legend_entries(const Figure& figure) {
  std::vector<LegendEntry> entries;
  const std::vector<std::string> boxes =
      figure.has_columns ? bar_names(figure) : figure.segment_names;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    entries.push_back({boxes[i], fmt::format("<rect class=\"lb-f{}\" x=\"9\" y=\"1\" width=\"12\" "
                                             "height=\"12\"/>",
                                             i % kNumStyles)});
  }
  const std::vector<std::string> names = series_names(figure);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::size_t style = i % kNumStyles;
    bool has_markers = false;
    bool is_faint = true;
    for (const Panel& panel : figure.panels) {
      for (const Series& series : panel.series) {
        if (series.name != names[i]) continue;
        has_markers |= series.has_markers;
        is_faint &= series.is_faint;
      }
    }
    std::string swatch =
        svg_line(1, 7, 29, 7, curve_class({.name = names[i], .is_faint = is_faint}, style),
                 is_faint ? "" : kDashes[style]);
    if (has_markers) swatch += svg_marker(style, 15, 7, "");
    entries.push_back({names[i], swatch});
  }
  const std::vector<std::string> references = reference_names(figure);
  for (std::size_t i = 0; i < references.size(); ++i) {
    entries.push_back({references[i], svg_line(1, 7, 29, 7, "lb-ref", kReferenceDashes[i % 2])});
  }
  return entries;
}

struct Range {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  void include(double value) {
    if (!std::isfinite(value)) return;
    min = std::min(min, value);
    max = std::max(max, value);
  }
};

bool can_draw(const Figure& figure, double y) {
  return std::isfinite(y) && (figure.y_scale == Scale::kLinear || y > 0);
}

bool can_place(const Figure& figure, double x) {
  return std::isfinite(x) && (figure.x_scale == Scale::kLinear || x > 0);
}

void include_curves(const Figure& figure, const Panel& panel, Range& x, Range& y) {
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
Range with_margin(const Range& range, Scale scale) {
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

std::string shown_value(double value, bool is_percent) {
  return is_percent ? format_percent(value) : format_number(value);
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

struct Drawing {
  std::string body;
  double height = 0;
};

std::string draw_title(const Panel& panel, double& y) {
  std::string out;
  for (const std::string& line : wrap_text(panel.title, kPanelWidth - 8, kTitleSize)) {
    y += kLineHeight;
    out += svg_text(4, y - 3, line, "start", "lb-text lb-title", kTitleSize);
  }
  return out;
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

Drawing draw_curves(const Figure& figure, const Panel& panel) {
  Range x_range;
  Range y_range;
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
      // Error bars at one x stand beside each other instead of on each other.
      const double middle = static_cast<double>(panel.series.size() - 1) / 2;
      const double shift = has_error_bars ? 3.0 * (static_cast<double>(i) - middle) : 0;
      out.body +=
          draw_series(figure, panel.series[i], index_of(names, panel.series[i].name) % kNumStyles,
                      shift, x_axis, y_axis);
    }
  }
  return out;
}

double bar_length(const Bar& bar) {
  double sum = 0;
  for (const double segment : bar.segments) sum += std::isfinite(segment) ? segment : 0;
  return sum;
}

Drawing draw_bars(const Figure& figure, const Panel& panel) {
  constexpr double kBarPitch = 21;
  constexpr double kBarHeight = 14;
  Drawing out;
  double y = 0;
  out.body += draw_title(panel, y);
  out.body +=
      svg_text(4, y + 14, panel.value_label + (figure.y_scale == Scale::kLog ? " (log scale)" : ""),
               "start", "lb-muted");
  y += 24;

  double name_width = 0;
  double value_width = 0;
  Range range;
  for (const BarGroup& group : panel.groups) {
    name_width = std::max(name_width, text_width(group.name, kTextSize));  // stays off the axis
    for (const Bar& bar : group.bars) {
      name_width = std::max(name_width, text_width(bar.name, kTextSize));
      value_width = std::max(value_width, text_width(bar.text, kTextSize));
      if (figure.is_diverging) {
        for (const double segment : bar.segments) range.include(segment);
      } else if (can_draw(figure, bar_length(bar))) {
        range.include(bar_length(bar));
      }
    }
  }
  name_width = std::min(name_width, figure.is_diverging ? 200.0 : 150.0);
  const double left = name_width + 16;
  const double right = std::max(kPanelWidth - std::max(value_width, 12.0) - 14, left + 80);
  double first = figure.is_diverging ? std::min(range.min, 0.0) : 0.0;
  if (figure.y_scale == Scale::kLog) {
    // Bars need a foot: a whole decade below the shortest one.
    first = std::pow(10, std::floor(std::log10(std::max(range.min, 1e-290)) - 0.3));
  }
  const AxisScale axis(figure.y_scale, first, std::max(range.max, 0.0), left, right);
  const double zero = axis.map(figure.is_diverging ? 0 : axis.min());

  const double head = y;
  double foot = y;
  for (const BarGroup& group : panel.groups) {
    foot += (group.name.empty() ? 0 : kLineHeight + 3) +
            kBarPitch * static_cast<double>(group.bars.size()) + 4;
  }
  double label_end = 0;
  for (const Tick& tick : axis.ticks(3, figure.y_is_percent)) {
    const double x = axis.map(tick.value);
    const double half = text_width(tick.label, kTextSize) / 2;
    out.body += svg_line(x, y, x, foot, "lb-grid");
    if (x - half < label_end + 8) continue;
    label_end = x + half;
    out.body += svg_text(x, foot + 15, tick.label, "middle", "lb-muted");
  }
  for (const BarGroup& group : panel.groups) {
    if (!group.name.empty()) {
      y += kLineHeight + 3;
      out.body += svg_text(4, y - 4, clip_text(group.name, kPanelWidth - 8, kTextSize), "start",
                           "lb-text lb-title");
    }
    for (std::size_t i = 0; i < group.bars.size(); ++i) {
      const Bar& bar = group.bars[i];
      out.body +=
          svg_text(left - 6, y + 13, clip_text(bar.name, name_width, kTextSize), "end", "lb-text");
      double x = zero;
      double text_x = zero;
      double sum = 0;
      for (std::size_t s = 0; s < bar.segments.size(); ++s) {
        if (!std::isfinite(bar.segments[s])) continue;
        if (!figure.is_diverging && bar.segments[s] <= 0) continue;
        sum = figure.is_diverging ? bar.segments[s] : sum + bar.segments[s];
        double end = axis.map(sum);
        if (figure.is_diverging) {
          x = std::min(zero, end);
          end = std::max(zero, end);
        }
        text_x = std::max(text_x, end);
        const std::size_t style = (figure.segment_names.empty() ? i : s) % kNumStyles;
        const std::string whose =
            group.name.empty() ? bar.name : fmt::format("{}, {}", group.name, bar.name);
        const std::string tip =
            figure.segment_names.empty()
                ? fmt::format("{}: {}", whose, bar.text)
                : fmt::format("{}, {}: {}", whose, figure.segment_names[s],
                              shown_value(bar.segments[s], figure.y_is_percent));
        out.body += fmt::format(
            "<rect class=\"lb-f{} lb-bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">"
            "<title>{}</title></rect>\n",
            style, px(x), px(y + 2), px(std::max(end - x, 0.5)), px(kBarHeight),
            escape_markup(tip));
        if (!figure.segment_names.empty() && !figure.is_diverging &&
            end - x > text_width(figure.segment_names[s], 10) + 4) {
          out.body +=
              svg_text((x + end) / 2, y + 12.5, figure.segment_names[s], "middle", "lb-inbar", 10);
        }
        x = end;
      }
      out.body += svg_text(text_x + 5, y + 13, bar.text, "start", "lb-text");
      y += kBarPitch;
    }
    y += 4;
  }
  out.body += svg_line(zero, head, zero, foot, "lb-axis");
  out.height = foot + 22;
  return out;
}

Drawing draw_columns(const Figure& figure, const Panel& panel) {
  constexpr double kLabelSize = 11;
  constexpr double kValueSize = 9.5;
  constexpr double kColumnsHeight = 190;
  Drawing out;
  double top = 0;
  out.body += draw_title(panel, top);
  out.body += svg_text(4, top + 14, panel.value_label, "start", "lb-muted");
  top += 26;
  const double bottom = top + kColumnsHeight;
  const double right = kPanelWidth - 8;

  Range range;
  double value_width = 0;
  for (const Panel& each : figure.panels) {
    if (!figure.share_y && &each != &panel) continue;
    for (const BarGroup& group : each.groups) {
      for (const Bar& bar : group.bars) {
        range.include(bar_length(bar));
        value_width = std::max(value_width, text_width(bar.text, kValueSize));
      }
    }
  }
  if (panel.groups.empty() || !(range.max > 0)) {
    throw std::logic_error(
        fmt::format("figure {}, panel '{}': no columns to draw", figure.id, panel.title));
  }
  // Room above the longest column for its value.
  const double highest = range.max * kColumnsHeight / (kColumnsHeight - value_width - 6);
  const AxisScale axis(Scale::kLinear, 0, highest, bottom, top);
  const std::vector<Tick> ticks = axis.ticks(5, figure.y_is_percent);
  double widest = 0;
  for (const Tick& tick : ticks) widest = std::max(widest, text_width(tick.label, kTextSize));
  const double left = widest + 14;
  for (const Tick& tick : ticks) {
    const double y = axis.map(tick.value);
    out.body += svg_line(left, y, right, y, "lb-grid");
    out.body += svg_text(left - 6, y + 4, tick.label, "end", "lb-muted");
  }

  const std::vector<std::string> names = bar_names(figure);
  const double pitch = (right - left) / static_cast<double>(panel.groups.size());
  std::size_t num_lines = 1;
  for (std::size_t g = 0; g < panel.groups.size(); ++g) {
    const BarGroup& group = panel.groups[g];
    const double middle = left + pitch * (static_cast<double>(g) + 0.5);
    const double width = std::min(
        22.0, 0.86 * pitch / static_cast<double>(std::max<std::size_t>(group.bars.size(), 1)));
    double x = middle - width * static_cast<double>(group.bars.size()) / 2;
    for (const Bar& bar : group.bars) {
      const double y = axis.map(bar_length(bar));
      if (bar_length(bar) > 0) {
        out.body += fmt::format(
            "<rect class=\"lb-f{} lb-bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">"
            "<title>{}</title></rect>\n",
            index_of(names, bar.name) % kNumStyles, px(x), px(y), px(width),
            px(std::max(bottom - y, 0.5)),
            escape_markup(fmt::format("{}, {}: {}", group.name, bar.name, bar.text)));
      }
      // Upright numbers are wider than their column.
      if (width >= kValueSize) {
        const std::string at = fmt::format("{} {}", px(x + width / 2 + 3.4), px(y - 4));
        out.body += fmt::format(
            "<text class=\"lb-text\" transform=\"translate({}) rotate(-90)\" "
            "font-size=\"{}\">{}</text>\n",
            at, px(kValueSize), escape_markup(bar.text));
      }
      x += width;
    }
    const std::vector<std::string> lines = wrap_text(group.name, pitch - 6, kLabelSize);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      out.body += svg_text(middle, bottom + 15 + 13 * static_cast<double>(i), lines[i], "middle",
                           "lb-muted", kLabelSize);
    }
    num_lines = std::max(num_lines, lines.size());
  }
  out.body += svg_line(left, bottom, right, bottom, "lb-axis");
  out.height = bottom + 10 + 13 * static_cast<double>(num_lines);
  return out;
}

Drawing draw_panel(const Figure& figure, const Panel& panel) {
  if (figure.has_columns) return draw_columns(figure, panel);
  return panel.groups.empty() ? draw_curves(figure, panel) : draw_bars(figure, panel);
}

// The text at the bar's end, or else its segments.
std::string bar_description(const Figure& figure, const Bar& bar) {
  if (!bar.text.empty()) return bar.text;
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < bar.segments.size() && i < figure.segment_names.size(); ++i) {
    if (!(bar.segments[i] > 0)) continue;
    parts.push_back(fmt::format("{} {}", figure.segment_names[i],
                                figure.y_is_percent ? format_percent(bar.segments[i], 2)
                                                    : format_number(bar.segments[i], 3)));
  }
  return parts.empty() ? "no value" : fmt::format("{}", fmt::join(parts, ", "));
}

// What a reader who cannot see the figure gets.
std::string panel_description(const Figure& figure, const Panel& panel) {
  std::string text = figure.caption;
  for (const Series& series : panel.series) {
    if (series.points.empty() || series.is_faint) continue;
    const auto at = [&](const Point& point) {
      return fmt::format("{} at {}", shown_value(point.y, figure.y_is_percent),
                         figure.x_is_percent ? format_share(point.x) : format_number(point.x));
    };
    text += fmt::format(" {}: from {} to {}.", series.name, at(series.points.front()),
                        at(series.points.back()));
  }
  for (const BarGroup& group : panel.groups) {
    for (const Bar& bar : group.bars) {
      text += fmt::format(" {}, {}: {}.", group.name, bar.name, bar_description(figure, bar));
    }
  }
  return text;
}

}  // namespace

std::vector<Provenance> figure_provenance(const Figure& figure) {
  std::vector<Provenance> out;
  const auto add = [&](const Provenance& provenance) {
    if (std::find(out.begin(), out.end(), provenance) == out.end()) out.push_back(provenance);
  };
  for (const Panel& panel : figure.panels) {
    if (panel.groups.empty()) add(panel.provenance);
    for (const BarGroup& group : panel.groups) add(group.provenance);
  }
  return out;
}

std::string panel_svg(const Figure& figure, std::size_t panel) {
  const Panel& shown = figure.panels.at(panel);
  const Drawing drawing = draw_panel(figure, shown);
  const std::string id = fmt::format("{}-{}", figure.id, panel + 1);
  return fmt::format(
      "<svg class=\"panel\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" "
      "role=\"img\" "
      "aria-labelledby=\"{}-t {}-d\">\n<title id=\"{}-t\">{}</title>\n<desc id=\"{}-d\">{}</desc>\n"
      "{}</svg>\n",
      px(kPanelWidth), px(drawing.height), escape_markup(id), escape_markup(id), escape_markup(id),
      escape_markup(figure.title + (shown.title.empty() ? "" : ": " + shown.title)),
      escape_markup(id), escape_markup(panel_description(figure, shown)), drawing.body);
}

std::string legend_html(const Figure& figure) {
  const std::vector<LegendEntry> entries = legend_entries(figure);
  if (entries.empty()) return "";
  std::string out = "<ul class=\"legend\">\n";
  for (const LegendEntry& entry : entries) {
    out += fmt::format(
        "<li><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"14\" viewBox=\"0 0 30 "
        "14\" aria-hidden=\"true\">{}</svg>{}</li>\n",
        entry.swatch, escape_markup(entry.name));
  }
  return out + "</ul>\n";
}

std::string figure_svg(const Figure& figure) {
  constexpr double kGap = 24;
  constexpr double kMargin = 10;
  const std::size_t num_columns = figure.panels.size() > 1 ? 2 : 1;
  const double width = static_cast<double>(num_columns) * kPanelWidth +
                       static_cast<double>(num_columns - 1) * kGap + 2 * kMargin;
  std::string body;
  double x = kMargin;
  double y = kMargin;
  for (const LegendEntry& entry : legend_entries(figure)) {
    const double entry_width = 36 + text_width(entry.name, kTextSize) + 18;
    if (x > kMargin && x + entry_width > width - kMargin) {
      x = kMargin;
      y += 20;
    }
    body += fmt::format("<g transform=\"translate({} {})\">{}{}</g>\n", px(x), px(y), entry.swatch,
                        svg_text(36, 11, entry.name, "start", "lb-text"));
    x += entry_width;
  }
  if (!body.empty()) y += 28;
  for (std::size_t i = 0; i < figure.panels.size(); i += num_columns) {
    double row_height = 0;
    for (std::size_t c = 0; c < num_columns && i + c < figure.panels.size(); ++c) {
      const Drawing drawing = draw_panel(figure, figure.panels[i + c]);
      body += fmt::format("<g transform=\"translate({} {})\">\n{}</g>\n",
                          px(kMargin + static_cast<double>(c) * (kPanelWidth + kGap)), px(y),
                          drawing.body);
      row_height = std::max(row_height, drawing.height);
    }
    y += row_height + kGap;
  }
  const double height = y - kGap + kMargin;
  std::string description = figure.caption;
  for (const Panel& panel : figure.panels) {
    if (!panel.title.empty()) description += " " + panel.title + ".";
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{2}</title>\n"
      "<desc id=\"d\">{3}</desc>\n<style>{4}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{5}</svg>\n",
      px(width), px(height), escape_markup(figure.title), escape_markup(description),
      figure_css(false), body);
}

std::string figure_css(bool dark) {
  const auto& colours = dark ? kDarkColours : kLightColours;
  std::string css = fmt::format(
      ".lb-text{{fill:{}}}.lb-muted{{fill:{}}}.lb-grid{{stroke:{}}}.lb-axis{{stroke:{}}}"
      ".lb-ref,.lb-faint{{stroke:{}}}.lb-mark,.lb-bar{{stroke:{}}}.lb-inbar{{fill:{}}}\n",
      dark ? "#e6e8eb" : "#1c2024", dark ? "#a8b0b9" : "#555e68", dark ? "#343a42" : "#dde2e7",
      dark ? "#7d8691" : "#7a838d", dark ? "#8d96a0" : "#767f89", dark ? "#16191d" : "#ffffff",
      dark ? "#16191d" : "#ffffff");
  for (std::size_t i = 0; i < kNumStyles; ++i) {
    css += fmt::format(".lb-l{0}{{stroke:{1}}}.lb-f{0}{{fill:{1}}}", i, colours[i]);
  }
  if (dark) return css + "\n";
  return css +
         "\ntext{font-family:system-ui,'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif}"
         ".lb-title{font-weight:600}.lb-grid,.lb-axis{stroke-width:1}"
         ".lb-curve{fill:none;stroke-width:1.8;stroke-linejoin:round}"
         ".lb-faint{fill:none;stroke-width:1;opacity:.55}.lb-err{fill:none;stroke-width:1.2}"
         ".lb-ref{fill:none;stroke-width:1.4}.lb-mark{stroke-width:.8}.lb-bar{stroke-width:.6}\n";
}

}  // namespace lowbank
