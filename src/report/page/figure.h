#pragma once

#include <string>
#include <vector>

#include "report/page/axis.h"
#include "report/page/number_format.h"
#include "report/page/provenance.h"

namespace lowbank::report {

struct Point {
  double x = 0;
  double y = 0;
  double y_low = kNotReported;  ///< ends of the error bar
  double y_high = kNotReported;
};

/// One curve. Its name gives colour, marker and dashes.
struct Series {
  std::string name = {};
  std::vector<Point> points = {};
  bool has_markers = true;
  bool is_faint = false;  ///< thin and pale: raw values behind a smoothed curve
};

/// A line to compare with, drawn grey and dashed: a horizontal one, or the diagonal y = x.
struct Reference {
  std::string name = {};
  bool is_diagonal = false;
  double y = 0;
};

/// A bar with its name.
struct Bar {
  std::string name = {};
  std::vector<double> segments = {};  ///< one length, or one for each of Figure::segment_names
  std::string text = {};              ///< label at the bar's end: "1.3 ms"
};

struct BarGroup {
  std::string name = {};
  std::vector<Bar> bars = {};
  Provenance provenance = {};
};

/// One set of axes: curves, or bars.
struct Panel {
  std::string title = {};
  std::vector<Series> series = {};
  std::vector<Reference> references = {};
  std::vector<BarGroup> groups = {};
  std::string value_label = {};  ///< bars: what the length means, with its unit
  Provenance provenance = {};    ///< curves: where their numbers come from
};

/// A figure of one or more panels, with everything that a reader or a script that redraws it needs.
/// Series of one name look the same in all panels.
struct Figure {
  std::string id = {};  ///< file name without suffix
  std::string title = {};
  std::string caption = {};  ///< what the figure shows, for readers who are not experts
  std::string x_label = {};
  std::string y_label = {};
  Scale x_scale = Scale::kLinear;  ///< of curves
  Scale y_scale = Scale::kLinear;
  bool x_is_percent = false;  ///< values are fractions, labels are in per cent
  bool y_is_percent = false;
  bool x_is_count = false;                      ///< ticks at whole numbers only
  bool share_y = true;                          ///< all panels have the same y range
  std::vector<std::string> segment_names = {};  ///< stacked bars; empty: bars of one segment
  /// Every segment of a bar starts at 0, negative ones go to the left, as in tornado charts.
  bool is_diverging = false;
  /// Bars of one segment stand upright and side by side, and the name of a bar is its colour.
  bool has_columns = false;
  std::vector<Panel> panels = {};

  bool has_bars() const { return !panels.empty() && !panels.front().groups.empty(); }
};

/// The distinct sources of a figure's numbers, in order.
std::vector<Provenance> figure_provenance(const Figure& figure);

/// One panel as an inline SVG for the page (title, description, no style of its own).
/// Errors: std::logic_error for a panel of columns without a value that can be drawn.
std::string panel_svg(const Figure& figure, std::size_t panel);

/// The legend of a figure as an HTML list.
std::string legend_html(const Figure& figure);

/// All panels and the legend as one SVG file.
std::string figure_svg(const Figure& figure);

/// The colours of curves and text; `dark` gives those for a dark page.
std::string figure_css(bool dark);

/// The numbers of a figure as CSV with their provenance, one line for each point or bar segment.
std::string figure_csv(const Figure& figure);

/// A short matplotlib script that redraws the figure from its CSV.
std::string figure_script(const Figure& figure);

}  // namespace lowbank::report
