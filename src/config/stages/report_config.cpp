#include "config/stages/report_config.h"

#include <fmt/format.h>

namespace lowbank {

CommandInfo ReportConfig::info() const {
  return {.name = "report",
          .purpose = "Put runs together: tables, figures, one self-contained HTML page.",
          .example = "lowbank report runs/demo/evaluate runs/demo/noisy --out report.html",
          .positionals = {"runs"},
          .output_file = "report.html"};
}

Fields ReportConfig::stage_fields() const {
  return {Field("runs", &runs, "run folders").input().may_hold_the_output().many().required(),
          Field("title", &title, "headline of the page; empty: the recipe's name")};
}

std::string ReportConfig::page() const {
  const std::string path =
      common.out.empty() ? fmt::format("runs/{}/report.html", recipe_name) : common.out;
  return path.ends_with(".html") ? path : path + ".html";
}

std::string ReportConfig::run_folder() const {
  const std::string path = page();
  return path.substr(0, path.size() - std::string(".html").size());
}

std::string ReportConfig::place_in_run(const std::string& folder, const std::string& /*id*/) const {
  return folder + "/report.html";
}

}  // namespace lowbank
