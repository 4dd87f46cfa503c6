#include "report/page/figure.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include <gtest/gtest.h>

#include "core/regex.h"
#include "markup_checker.h"

namespace lowbank::report {
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

Figure column_figure() {
  Figure figure{.id = "columns", .title = "Title", .caption = "Caption.", .has_columns = true};
  figure.panels.push_back(
      {.title = "panel",
       .groups = {{.name = "one",
                   .bars = {{.name = "a", .segments = {1}, .text = "1.00"},
                            {.name = "b", .segments = {2.5}, .text = "2.50"}}},
                  {.name = "two",
                   .bars = {{.name = "b", .segments = {5}, .text = "5.00"}},
                   .provenance = {.kind = Provenance::Kind::kModelled, .mode = "physical"}}},
       .value_label = "gain"});
  return figure;
}

// What the expression matches, which is a number each time.
std::vector<double> all_numbers(const std::string& text, const std::string& pattern) {
  std::vector<double> out;
  const Regex expression(pattern);
  std::size_t begin = 0;
  std::size_t end = 0;
  while (expression.find(text, end, begin, end)) {
    out.push_back(std::stod(text.substr(begin, end - begin)));
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
    const auto heights = all_numbers(path, "[ML][0-9.]+ \\K[0-9.]+");
    ASSERT_EQ(heights.size(), 3u);
    EXPECT_GT(heights[0], heights[1]);
    EXPECT_GT(heights[1], heights[2]);
    // Equal ratios are equal lengths on a log axis only; pixels are rounded to a hundredth.
    const double difference = (heights[0] - heights[1]) - (heights[1] - heights[2]);
    EXPECT_EQ(std::abs(difference) < 0.03, scale == Scale::kLog);
  }
}

TEST(FigureTest, DrawsBarsInProportion) {
  const auto widths = all_numbers(panel_svg(bar_figure(), 0), "<rect[^>]* width=\"\\K[0-9.]+");
  ASSERT_EQ(widths.size(), 2u);
  EXPECT_NEAR(widths[0], 2 * widths[1], 0.02);  // pixels are rounded to a hundredth
}

TEST(FigureTest, DrawsColumnsInProportionAndEachNameInOneColour) {
  const std::string svg = panel_svg(column_figure(), 0);
  const auto heights = all_numbers(svg, "<rect[^>]* height=\"\\K[0-9.]+");
  ASSERT_EQ(heights.size(), 3u);
  EXPECT_NEAR(heights[1], 2.5 * heights[0], 0.03);  // pixels are rounded to a hundredth
  EXPECT_NEAR(heights[2], 5 * heights[0], 0.06);
  EXPECT_EQ(all_numbers(svg, "<rect class=\"lb-f\\K[0-9]"), (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(all_numbers(legend_html(column_figure()), "lb-f\\K[0-9]"), (std::vector<double>{0, 1}));
}

TEST(FigureTest, ColumnsOfSeveralPanelsHaveOneScale) {
  Figure figure = column_figure();
  figure.panels.push_back(figure.panels[0]);
  figure.panels[1].groups = {{.name = "one", .bars = {{.name = "a", .segments = {10}}}}};
  const std::string pattern = "<rect[^>]* height=\"\\K[0-9.]+";
  const auto small = all_numbers(panel_svg(figure, 0), pattern);
  const auto large = all_numbers(panel_svg(figure, 1), pattern);
  EXPECT_NEAR(large.at(0), 10 * small.at(0), 0.1);
}

TEST(FigureTest, CsvHoldsEveryColumnWithItsProvenance) {
  const std::string csv = figure_csv(column_figure());
  EXPECT_NE(csv.find("panel,gain,one,a,,1,measured,"), std::string::npos);
  EXPECT_NE(csv.find("panel,gain,one,b,,2.5,measured,"), std::string::npos);
  EXPECT_NE(csv.find("panel,gain,two,b,,5,modelled,physical mode"), std::string::npos);
}

TEST(FigureTest, ColumnsAreWellFormedWhateverTheNames) {
  Figure figure = column_figure();
  figure.panels[0].title = "a < b & \"c\"";
  figure.panels[0].groups[0].name = "</svg><script> " + std::string(300, 'w');
  figure.panels[0].groups[0].bars[0].name = "<i>'&'";
  figure.panels[0].groups[0].bars[1].text = "\x01 ]]>";
  EXPECT_EQ(testing::markup_fault(figure_svg(figure)), "");
  EXPECT_EQ(testing::markup_fault(panel_svg(figure, 0)), "");
  EXPECT_EQ(testing::markup_fault(legend_html(figure)), "");
}

TEST(FigureTest, ColumnsWithoutAValueAreAnError) {
  Figure figure = column_figure();
  figure.panels[0].groups.clear();
  EXPECT_THROW(panel_svg(figure, 0), std::logic_error);
  figure = column_figure();
  for (BarGroup& group : figure.panels[0].groups) {
    for (Bar& bar : group.bars) bar.segments = {kNotReported};
  }
  EXPECT_THROW(figure_svg(figure), std::logic_error);
}

TEST(FigureTest, DescribesStackedBarsWithoutATextByTheirSegments) {
  Figure figure = bar_figure();
  figure.segment_names = {"gemm", "others"};
  figure.y_is_percent = true;
  figure.panels[0].groups[0].bars = {{.name = "batch 1", .segments = {0.25, 0.75}}};
  EXPECT_NE(panel_svg(figure, 0).find("batch 1: gemm 25 %, others 75 %."), std::string::npos);
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
}  // namespace lowbank::report
