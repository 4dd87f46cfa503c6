#include "stages/report_stage.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "report/runs/report_data.h"
#include "report/sections/html_page.h"
#include "report/sections/sections.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

struct OutputFile {
  std::string name;
  std::string content;
};

std::vector<OutputFile> output_files(const std::vector<report::Section>& sections,
                                     Metrics& metrics) {
  std::vector<OutputFile> files;
  metrics["figures"] = Metrics::array();
  metrics["tables"] = Metrics::array();
  for (const report::Section& section : sections) {
    for (const report::Figure& figure : section.figures) {
      files.push_back({figure.id + ".svg", report::figure_svg(figure)});
      files.push_back({figure.id + ".csv", report::figure_csv(figure)});
      files.push_back({figure.id + ".py", report::figure_script(figure)});
      metrics["figures"].push_back(figure.id);
    }
    for (const report::Table& table : section.tables) {
      files.push_back({table.id + ".csv", report::table_csv(table)});
      if (!table.is_long) files.push_back({table.id + ".md", report::table_markdown(table)});
      metrics["tables"].push_back(table.id);
    }
  }
  return files;
}

// Removes figures and tables of an earlier report that the new one does not write.
void remove_stale(const RunDir& out, const std::vector<OutputFile>& files) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(out.path(), error)) {
    const std::string name = entry.path().filename().string();
    const bool is_ours = (name.starts_with("fig_") || name.starts_with("table_")) &&
                         (name.ends_with(".svg") || name.ends_with(".csv") ||
                          name.ends_with(".md") || name.ends_with(".py"));
    const bool is_new = std::any_of(files.begin(), files.end(),
                                    [&](const OutputFile& file) { return file.name == name; });
    if (is_ours && !is_new) fs::remove(entry.path(), error);
  }
}

}  // namespace

void report_stage(const ReportConfig& config, RunDir* out, Metrics& metrics) {
  const std::string page = config.page();
  std::error_code error;
  if (fs::is_directory(page, error)) {
    throw IoError(page + ": is a folder; --out names the HTML page to write");
  }
  const report::ReportData data = report::read_runs(config.runs);
  const std::string title = config.title.empty() ? "Lowbank: " + config.recipe_name : config.title;
  const std::vector<report::Section> sections = report::report_sections(data);
  const std::vector<std::string> summary = report::report_summary(data, page);

  metrics["page"] = page;
  metrics["num_runs"] = data.runs.size();
  metrics["summary"] = summary;
  const std::vector<OutputFile> files = output_files(sections, metrics);
  metrics["headlines"] = Metrics::array();
  for (const report::Headline& headline : report::report_headlines(data)) {
    metrics["headlines"].push_back({{"name", headline.name},
                                    {"value", headline.value},
                                    {"unit", headline.unit},
                                    {"provenance", headline.provenance.name()},
                                    {"provenance_detail", headline.provenance.detail()}});
  }
  const std::string html = report::html_page(title, summary, sections,
                                             fs::path(config.run_folder()).filename().string());

  out->begin();
  remove_stale(*out, files);
  for (const OutputFile& file : files) out->write(file.name, file.content);
  std::string text = printable(title) + "\n\n";
  for (const std::string& line : summary) text += printable(line) + "\n";
  out->write("summary.txt", text);
  write_file(page, html);

  print("{}", title);
  for (const std::string& line : summary) print("  {}", line);
}

}  // namespace lowbank
