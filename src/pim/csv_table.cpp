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

// Removes a quoted cell (RFC 4180) from the line and returns its text. A quotation mark that no comma
// and no end of the line follows is a part of the text, as one inside a plain cell is.
std::string take_quoted_cell(std::string_view& line) {
  std::string cell;
  std::size_t at = 1;
  for (; at < line.size(); ++at) {
    if (line[at] == '"') {
      const bool ends = at + 1 == line.size() || line[at + 1] == ',';
      if (ends) break;
      if (line[at + 1] == '"') ++at;
    }
    cell += line[at];
  }
  line.remove_prefix(std::min(at + 1, line.size()));
  return cell;
}

std::vector<std::string> split_cells(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    if (line.starts_with('"')) {
      cells.push_back(take_quoted_cell(line));
    } else {
      cells.emplace_back(line.substr(0, line.find(',')));
      line.remove_prefix(cells.back().size());
    }
    if (line.empty()) return cells;
    line.remove_prefix(1);  // the comma
  }
}

}  // namespace

CsvTable CsvTable::read(const std::string& path, const std::vector<std::string>& needed_columns) {
  return parse(read_text(path), path, needed_columns);
}

CsvTable CsvTable::parse(std::string_view text, const std::string& source,
                         const std::vector<std::string>& needed_columns) {
  CsvTable table;
  table.source_ = source;
  std::size_t line_number = 0;
  for (const std::string_view line : split_lines(text)) {
    ++line_number;
    if (line.empty()) continue;
    std::vector<std::string> cells = split_cells(line);
    if (table.columns_.empty()) {
      table.columns_ = std::move(cells);
      continue;
    }
    if (cells.size() != table.columns_.size()) {
      throw IoError(fmt::format("{}: line {}: {} cells; the header has {}", source, line_number,
                                cells.size(), table.columns_.size()));
    }
    table.rows_.push_back(std::move(cells));
    table.lines_.push_back(line_number);
  }
  for (const auto& name : needed_columns) {
    if (table.has_column(name)) continue;
    throw IoError(fmt::format("{}: column '{}' is missing; needed are {}", source, name,
                              fmt::join(needed_columns, ", ")));
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
