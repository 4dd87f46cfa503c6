#include "report/page/figure.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "report/page/drawing.h"
#include "report/page/markup.h"

namespace lowbank::report {
namespace {

// Okabe and Ito's colours, which colour-blind readers tell apart; brighter ones for dark pages.
constexpr std::array<const char*, kNumStyles> kLightColours = {
    "#0072b2", "#d55e00", "#009e73", "#b8578f", "#b37a00", "#3a96c7", "#5b5b5b", "#7a4fbf"};
constexpr std::array<const char*, kNumStyles> kDarkColours = {
    "#58b0ea", "#ff8a45", "#35cf9f", "#eb9cc6", "#f0b43c", "#a4d8f5", "#b9b9b9", "#b79bf0"};

// An entry is drawn in a box of 30 x 14.
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

// The description for readers who cannot see the figure.
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

}  // namespace lowbank::report
