#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank::pim {

/// A CSV file (RFC 4180) with a header: columns go by name, further ones are kept. A cell may be quoted
/// and then hold commas, line ends and doubled quotation marks.
class CsvTable {
 public:
  /// Errors: IoError for a file that is unreadable or is a device or a pipe, a line with another
  /// number of cells than the header, a missing column or one that is there twice, a header
  /// without rows, and a quoted cell that is not closed.
  static CsvTable read(const std::string& path, const std::vector<std::string>& needed_columns);
  static CsvTable parse(std::string_view text, const std::string& source,
                        const std::vector<std::string>& needed_columns);

  std::size_t num_rows() const { return rows_.size(); }
  bool has_column(std::string_view name) const;
  const std::string& text(std::size_t row, std::string_view column) const;
  /// Errors: ConfigError naming line and column unless the cell is a whole number in
  /// [1, 2^40], or a finite number above 0.
  std::int64_t count(std::size_t row, std::string_view column) const;
  double positive(std::size_t row, std::string_view column) const;
  /// "calls.csv: line 7": where a row stands, for errors.
  std::string where(std::size_t row) const;
  /// The cells of a row, separated by commas.
  std::string line(std::size_t row) const;

  /// The table with further columns; one cell a row in each. Columns of these names go. Cells are
  /// written as csv_field (core/text.h) does.
  std::string with_columns(const std::vector<std::string>& names,
                           const std::vector<std::vector<std::string>>& cells_by_row) const;

 private:
  std::size_t column_index(std::string_view name) const;

  std::string source_;
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> lines_;  // of the file, from 1
};

}  // namespace lowbank::pim
