#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "report/page/figure.h"

namespace lowbank::report {

/// One panel is as wide as a phone: at 360 pixels its 12-pixel text is still legible.
inline constexpr double kPanelWidth = 400;
inline constexpr double kTextSize = 12;
inline constexpr double kTitleSize = 13.5;
inline constexpr double kLineHeight = 17;
inline constexpr std::size_t kNumStyles = 8;

inline constexpr std::array<const char*, kNumStyles> kDashes = {
    "", "7 3", "2 2.5", "9 3 2 3", "5 2 1 2", "1.5 1.5", "12 3", "4 4"};
inline constexpr std::array<const char*, 2> kReferenceDashes = {"6 4", "1.5 3.5"};

/// The content of a panel's SVG element, and its height in pixels.
struct Drawing {
  std::string body;
  double height = 0;
};
/// Errors: std::logic_error for a panel of columns without a value that can be drawn.
Drawing draw_columns(const Figure& figure, const Panel& panel);
Drawing draw_bars(const Figure& figure, const Panel& panel);
Drawing draw_curves(const Figure& figure, const Panel& panel);
/// The lines of a panel's title; `y` moves below them.
std::string draw_title(const Panel& panel, double& y);

/// From the smallest to the largest of the finite values.
struct ValueRange {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  void include(double value) {
    if (!std::isfinite(value)) return;
    min = std::min(min, value);
    max = std::max(max, value);
  }
};
/// Whether a value has a place on the figure's y axis.
bool can_draw(const Figure& figure, double y);

/// Index of `name` in `names`; names.size() if it is not there.
std::size_t index_of(const std::vector<std::string>& names, const std::string& name);
/// Names in the order in which they first appear. The index of a name decides its style.
std::vector<std::string> series_names(const Figure& figure);
std::vector<std::string> reference_names(const Figure& figure);
std::vector<std::string> bar_names(const Figure& figure);
/// CSS class of a curve; a faint curve has the colour of the axes.
std::string curve_class(const Series& series, std::size_t style);

/// Estimated width in px of a text of `size` px.
double text_width(std::string_view text, double size);
/// As much of the text as fits in `width` px.
std::string clip_text(const std::string& text, double width, double size);
/// The text in at most three lines that fit into `width` px.
std::vector<std::string> wrap_text(const std::string& text, double width, double size);
std::string shown_value(double value, bool is_percent);
/// A length or place in px, with at most two decimals.
std::string px(double value);

std::string svg_text(double x, double y, const std::string& text, const std::string& anchor,
                     const std::string& css_class, double size = kTextSize);
std::string svg_line(double x1, double y1, double x2, double y2, const std::string& css_class,
                     const std::string& dashes = "");
/// A marker; browsers show `tip` when the pointer is on it.
std::string svg_marker(std::size_t style, double x, double y, const std::string& tip);

}  // namespace lowbank::report
