#include "report/figure.h"

#include <cmath>
#include <limits>
#include <regex>

#include <gtest/gtest.h>

#include "markup_checker.h"

namespace lowbank {
namespace {

Figure curve_figure() {
  Figure figure{
      .id = "fig", .title = "Title", .caption = "Caption.", .x_label = "x", .y_label = "y"};
  Panel panel{.title = "panel", .provenance = {.device = "Xeon", .date = "2026-01-31"}};
  panel.series.push_back({.name = "curve",
                          .points = {{.x = 0, .y = 1, .y_low = 0.5, .y_high = 1.5},
                                     {.x = 1, .y = 10, .y_low = 9, .y_high = 11},
                                     {.x = 2, .y = 100}}});
  figure.panels.push_back(panel);
  return figure;
}

Figure bar_figure() {
  Figure figure{.id = "bars", .title = "Title", .caption = "Caption."};
  figure.panels.push_back(
      {.groups = {{.name = "gpu",
                   .bars = {{.name = "dense", .segments = {100}, .text = "100 us"},
                            {.name = "half", .segments = {50}, .text = "50 us"}}}},
       .value_label = "microseconds"});
  return figure;
}

std::vector<double> all_numbers(const std::string& text, const std::string& pattern) {
  std::vector<double> out;
  const std::regex expression(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at) {
    out.push_back(std::stod((*at)[1]));
  }
  return out;
}

TEST(FigureTest, WritesWellFormedMarkupWhateverTheNames) {
  Figure figure = curve_figure();
  figure.title = "a < b & \"c\"";
  figure.panels[0].title = std::string(300, 'w') + " <i>";
  figure.panels[0].series[0].name = "</svg><script>";
  figure.panels[0].references.push_back({.name = "'&'", .y = 3});
  EXPECT_EQ(testing::markup_fault(figure_svg(figure)), "");
  EXPECT_EQ(testing::markup_fault(panel_svg(figure, 0)), "");
  EXPECT_EQ(testing::markup_fault(legend_html(figure)), "");
  EXPECT_EQ(testing::markup_fault(figure_svg(bar_figure())), "");
}

TEST(FigureTest, HasATitleAndADescriptionForThoseWhoCannotSeeIt) {
  const std::string svg = panel_svg(curve_figure(), 0);
  EXPECT_NE(svg.find("role=\"img\""), std::string::npos);
  EXPECT_NE(svg.find("<title id=\"fig-1-t\">Title: panel</title>"), std::string::npos);
  EXPECT_NE(svg.find("curve: from 1.000 at 0 to 100.0 at 2.000."), std::string::npos);
}

TEST(FigureTest, DrawsHigherValuesHigher) {
  for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
    Figure figure = curve_figure();
    figure.y_scale = scale;
    const std::string svg = panel_svg(figure, 0);
    const auto start = svg.find("lb-curve");
    const std::string path = svg.substr(start, svg.find("/>", start) - start);
    const auto heights = all_numbers(path, "[ML][0-9.]+ ([0-9.]+)");
    ASSERT_EQ(heights.size(), 3u);
    EXPECT_GT(heights[0], heights[1]);
    EXPECT_GT(heights[1], heights[2]);
    // Equal ratios are equal lengths on a log axis only; pixels are rounded to a hundredth.
    const double difference = (heights[0] - heights[1]) - (heights[1] - heights[2]);
    EXPECT_EQ(std::abs(difference) < 0.03, scale == Scale::kLog);
  }
}

TEST(FigureTest, DrawsBarsInProportion) {
  const auto widths = all_numbers(panel_svg(bar_figure(), 0), "<rect[^>]* width=\"([0-9.]+)\"");
  ASSERT_EQ(widths.size(), 2u);
  EXPECT_NEAR(widths[0], 2 * widths[1], 0.02);  // pixels are rounded to a hundredth
}

TEST(FigureTest, LeavesOutPointsThatAreNotFiniteOrHaveNoLogarithm) {
  Figure figure = curve_figure();
  figure.y_scale = Scale::kLog;
  auto& points = figure.panels[0].series[0].points;
  points.push_back({.x = 3, .y = -1});
  points.push_back({.x = 4, .y = std::numeric_limits<double>::infinity()});
  points.push_back({.x = 5, .y = 20, .y_low = -3, .y_high = 30});
  const std::string svg = figure_svg(figure);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_EQ(testing::markup_fault(svg), "");
}

TEST(FigureTest, TellsCurvesApartByMarkerAndDashesToo) {
  Figure figure = curve_figure();
  figure.panels[0].series.push_back(figure.panels[0].series[0]);
  figure.panels[0].series[1].name = "other";
  const std::string legend = legend_html(figure);
  EXPECT_NE(legend.find("stroke-dasharray"), std::string::npos);
  EXPECT_NE(legend.find("lb-f0"), std::string::npos);
  EXPECT_NE(legend.find("lb-f1"), std::string::npos);
}

TEST(FigureTest, CsvHoldsEveryPointWithItsProvenance) {
  Figure figure = curve_figure();
  figure.panels[0].references.push_back({.name = "clean", .y = 3});
  EXPECT_EQ(figure_csv(figure),
            "panel,kind,series,x,y,y_low,y_high,provenance,provenance_detail\n"
            "panel,curve,curve,0,1,0.5,1.5,measured,\"Xeon, 2026-01-31\"\n"
            "panel,curve,curve,1,10,9,11,measured,\"Xeon, 2026-01-31\"\n"
            "panel,curve,curve,2,100,,,measured,\"Xeon, 2026-01-31\"\n"
            "panel,reference,clean,0,3,,,measured,\"Xeon, 2026-01-31\"\n"
            "panel,reference,clean,2,3,,,measured,\"Xeon, 2026-01-31\"\n");
}

TEST(FigureTest, ScriptNamesItsOwnDataAndQuotesLabels) {
  Figure figure = curve_figure();
  figure.x_label = "a \"b\"\\";
  const std::string script = figure_script(figure);
  EXPECT_NE(script.find("fig.csv"), std::string::npos);
  EXPECT_NE(script.find("xlabel=\"a \\\"b\\\"\\\\\""), std::string::npos);
  EXPECT_EQ(script.find("sharey"), script.rfind("sharey"));
}

}  // namespace
}  // namespace lowbank
