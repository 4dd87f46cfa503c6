#include "report/page/drawing.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/text.h"
#include "report/page/markup.h"

namespace lowbank::report {
namespace {

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

}  // namespace

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
                     const std::string& css_class, double size) {
  return fmt::format(
      "<text class=\"{}\" x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{}\">{}</text>\n",
      css_class, px(x), px(y), px(size), anchor, escape_markup(text));
}

std::string svg_line(double x1, double y1, double x2, double y2, const std::string& css_class,
                     const std::string& dashes) {
  return fmt::format("<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"{}/>\n", css_class,
                     px(x1), px(y1), px(x2), px(y2),
                     dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
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

// A faint curve has the colour of the axes: it is there to show the scatter, not to be told apart.
std::string curve_class(const Series& series, std::size_t style) {
  return series.is_faint ? "lb-faint" : fmt::format("lb-l{} lb-curve", style);
}

bool can_draw(const Figure& figure, double y) {
  return std::isfinite(y) && (figure.y_scale == Scale::kLinear || y > 0);
}

std::string shown_value(double value, bool is_percent) {
  return is_percent ? format_percent(value) : format_number(value);
}

std::string draw_title(const Panel& panel, double& y) {
  std::string out;
  for (const std::string& line : wrap_text(panel.title, kPanelWidth - 8, kTitleSize)) {
    y += kLineHeight;
    out += svg_text(4, y - 3, line, "start", "lb-text lb-title", kTitleSize);
  }
  return out;
}

}  // namespace lowbank::report
