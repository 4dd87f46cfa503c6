#pragma once

#include <string>
#include <variant>
#include <vector>

#include "report/page/provenance.h"

namespace lowbank::report {

enum class CellFormat { kText, kInteger, kNumber, kPercent, kShare, kLatency, kEnergy, kSeconds };

struct TableColumn {
  std::string key = {};      ///< CSV header, with the unit of the stored number: "latency_ns"
  std::string heading = {};  ///< for readers: "latency"
  CellFormat format = CellFormat::kText;
};

/// Text, a number in the column's unit, or nothing.
using TableCell = std::variant<std::monostate, std::string, double>;

struct TableRow {
  std::vector<TableCell> cells = {};
  Provenance provenance = {};
};

/// Rows of results; each row says whether it was measured or modelled.
struct Table {
  std::string id = {};       ///< file name without suffix
  std::string caption = {};  ///< one sentence
  std::vector<TableColumn> columns = {};
  std::vector<TableRow> rows = {};
  bool is_long = false;  ///< folded away on the page until asked for

  void add(std::vector<TableCell> cells, const Provenance& provenance);
};

/// The table as CSV (RFC 4180), one line for each row, with exact numbers. The last columns are
/// `provenance` and `provenance_detail`.
std::string table_csv(const Table& table);

/// The table as Markdown for readers. The caption, and the provenance if all rows share it, come
/// first.
std::string table_markdown(const Table& table);

/// The table as HTML for readers. If all rows share one provenance, the caption states it, else a
/// last column does.
std::string table_html(const Table& table);

}  // namespace lowbank::report
