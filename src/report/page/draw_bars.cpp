#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "report/page/drawing.h"
#include "report/page/markup.h"

namespace lowbank::report {
namespace {

double bar_length(const Bar& bar) {
  double sum = 0;
  for (const double segment : bar.segments) sum += std::isfinite(segment) ? segment : 0;
  return sum;
}

}  // namespace

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
  ValueRange range;
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
    // A logarithmic axis has no 0, so bars start at a whole decade below the shortest bar.
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

  ValueRange range;
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

}  // namespace lowbank::report
