#include "pim/csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "pim/workload.h"

namespace lowbank::pim {
namespace {

// Takes the cells of one record after another (RFC 4180): a quoted cell may hold commas, doubled
// quotation marks and line ends. A quotation mark inside a plain cell is a part of its text, which the
// RFC leaves open.
class RecordReader {
 public:
  RecordReader(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  /// The next record that is not an empty line. False at the end. Errors: IoError.
  bool next(std::vector<std::string>& cells) {
    while (text_.starts_with('\n')) skip_line_end();
    if (text_.empty()) return false;
    first_line_ = line_;
    cells.clear();
    for (;;) {
      cells.push_back(text_.starts_with('"') ? take_quoted() : take_plain());
      if (!text_.starts_with(',')) break;
      text_.remove_prefix(1);
    }
    if (!text_.empty()) skip_line_end();
    return true;
  }
  /// The line on which the record begins, from 1.
  std::size_t line() const { return first_line_; }

 private:
  void skip_line_end() {
    text_.remove_prefix(1);
    ++line_;
  }
  std::string take_plain() {
    std::string cell(text_.substr(0, text_.find_first_of(",\n")));
    text_.remove_prefix(cell.size());
    return cell;
  }
  std::string take_quoted() {
    const std::size_t opened_on = line_;
    std::string cell;
    std::size_t at = 1;
    for (;; ++at) {
      if (at >= text_.size()) {
        throw IoError(fmt::format("{}: line {}: the quotation mark of a cell is never closed",
                                  source_, opened_on));
      }
      if (text_[at] == '"' && !text_.substr(at + 1).starts_with('"')) break;
      if (text_[at] == '"') ++at;
      if (text_[at] == '\n') ++line_;
      cell += text_[at];
    }
    text_.remove_prefix(at + 1);
    if (!text_.empty() && text_.front() != ',' && text_.front() != '\n') {
      throw IoError(fmt::format(
          "{}: line {}: text follows the closing quotation mark of a cell; a quotation mark in a "
          "quoted cell is doubled",
          source_, line_));
    }
    return cell;
  }

  std::string_view text_;  // what is left
  const std::string& source_;
  std::size_t line_ = 1;
  std::size_t first_line_ = 1;
};

void check_header(const std::vector<std::string>& columns, const std::string& source,
                  std::size_t line) {
  for (auto name = columns.begin(); name != columns.end(); ++name) {
    if (std::find(columns.begin(), name, *name) != name) {
      throw IoError(
          fmt::format("{}: line {}: the header has column '{}' twice", source, line, *name));
    }
  }
}

}  // namespace

CsvTable CsvTable::read(const std::string& path, const std::vector<std::string>& needed_columns) {
  return parse(read_regular_text(path), path, needed_columns);
}

CsvTable CsvTable::parse(std::string_view text, const std::string& source,
                         const std::vector<std::string>& needed_columns) {
  CsvTable table;
  table.source_ = source;
  RecordReader records(text, source);
  std::vector<std::string> cells;
  while (records.next(cells)) {
    if (table.columns_.empty()) {
      check_header(cells, source, records.line());
      table.columns_ = std::move(cells);
      continue;
    }
    if (cells.size() != table.columns_.size()) {
      throw IoError(fmt::format("{}: line {}: {} cells; the header has {}", source, records.line(),
                                cells.size(), table.columns_.size()));
    }
    table.rows_.push_back(std::move(cells));
    table.lines_.push_back(records.line());
  }
  for (const auto& name : needed_columns) {
    if (table.has_column(name)) continue;
    throw IoError(fmt::format("{}: column '{}' is missing; needed are {}", source, name,
                              fmt::join(needed_columns, ", ")));
  }
  if (table.rows_.empty()) {
    throw IoError(fmt::format("{}: has a header and no row below it", source));
  }
  return table;
}

bool CsvTable::has_column(std::string_view name) const {
  return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
}

std::size_t CsvTable::column_index(std::string_view name) const {
  const auto it = std::find(columns_.begin(), columns_.end(), name);
  if (it == columns_.end()) throw std::logic_error(fmt::format("no column '{}'", name));
  return static_cast<std::size_t>(it - columns_.begin());
}

std::string CsvTable::where(std::size_t row) const {
  return fmt::format("{}: line {}", source_, lines_[row]);
}

std::string CsvTable::line(std::size_t row) const {
  return fmt::format("{}", fmt::join(rows_[row], ","));
}

const std::string& CsvTable::text(std::size_t row, std::string_view column) const {
  return rows_[row][column_index(column)];
}

std::int64_t CsvTable::count(std::size_t row, std::string_view column) const {
  const std::string& cell = text(row, column);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || value < 1 ||
      value > kMaxDimension) {
    throw ConfigError(fmt::format("{}: {}: must be a whole number in [1, 2^40]; got '{}'",
                                  where(row), column, cell));
  }
  return value;
}

double CsvTable::positive(std::size_t row, std::string_view column) const {
  const std::string& cell = text(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value) ||
      value <= 0) {
    throw ConfigError(
        fmt::format("{}: {}: must be a number above 0; got '{}'", where(row), column, cell));
  }
  return value;
}

std::string CsvTable::with_columns(
    const std::vector<std::string>& names,
    const std::vector<std::vector<std::string>>& cells_by_row) const {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (std::find(names.begin(), names.end(), columns_[i]) == names.end()) kept.push_back(i);
  }
  const auto line = [&](const std::vector<std::string>& own,
                        const std::vector<std::string>& further) {
    std::vector<std::string> cells;
    for (const std::size_t i : kept) cells.push_back(own[i]);
    cells.insert(cells.end(), further.begin(), further.end());
    std::transform(cells.begin(), cells.end(), cells.begin(),
                   [](const std::string& cell) { return csv_field(cell); });
    return fmt::format("{}\n", fmt::join(cells, ","));
  };
  std::string out = line(columns_, names);
  for (std::size_t row = 0; row < rows_.size(); ++row) out += line(rows_[row], cells_by_row[row]);
  return out;
}

}  // namespace lowbank::pim
