#pragma once

#include <string>
#include <vector>

#include "report/page/figure.h"
#include "report/page/table.h"
#include "report/runs/report_data.h"

namespace lowbank::report {

/// A part of the page: plain sentences, figures, tables. A section without figures and tables is
/// left out.
struct Section {
  std::string id;
  std::string title;
  std::vector<std::string> paragraphs = {};
  std::vector<Figure> figures = {};
  std::vector<Table> tables = {};
  std::vector<std::string> notes = {};  ///< small print, a list at the end

  bool is_empty() const { return figures.empty() && tables.empty(); }
};

Section perplexity_section(const ReportData& data);
Section training_section(const ReportData& data);
Section compression_section(const ReportData& data);
Section importance_section(const ReportData& data);
Section noise_section(const ReportData& data);
Section cost_section(const ReportData& data);
Section sweep_section(const ReportData& data);
Section sensitivity_section(const ReportData& data);
Section slc_section(const ReportData& data);
Section experiments_section(const ReportData& data);
Section runs_section(const ReportData& data);

/// All of them in reading order, empty ones left out.
std::vector<Section> report_sections(const ReportData& data);

/// About a dozen plain lines that say what the runs show. A sentence whose figures are missing is
/// left out. The page begins with these lines, and summary.txt holds them.
std::vector<std::string> report_summary(const ReportData& data, const std::string& page);

/// Figures of the summary for metrics.json, each with its provenance.
struct Headline {
  std::string name;  ///< run and key: "finetune.valid_perplexity"
  double value = kNotReported;
  std::string unit = {};  ///< "" for a pure number
  Provenance provenance = {};
};
std::vector<Headline> report_headlines(const ReportData& data);

}  // namespace lowbank::report
