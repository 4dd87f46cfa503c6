#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Whole file as bytes. Errors: IoError naming the path.
std::string read_bytes(const std::string& path);

/// A text file (text, TSV, CSV, JSONL): a UTF-8 byte order mark is dropped, CRLF and CR become LF.
/// Errors: IoError when the file cannot be read or is not UTF-8 (naming the byte offset).
std::string read_text(const std::string& path);

/// read_text for a file that has to be in memory as a whole: a device or a pipe, which may never end,
/// is an IoError.
std::string read_regular_text(const std::string& path);

/// read_text in stretches, for files that need not be in memory as a whole (pipes as well).
class TextReader {
 public:
  /// Errors: IoError when the file cannot be opened.
  explicit TextReader(const std::string& path);
  /// The next stretch of about `max_bytes`, in whole characters; empty at the end of the file.
  /// Errors: those of read_text.
  std::string next(std::size_t max_bytes = std::size_t{1} << 18);

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::string raw_;          // read and not yet given
  std::size_t offset_ = 0;   // of raw_ in the file
  bool was_return_ = false;  // the last character given was a CR, as an LF
};

/// The lines without their line ends. A last line that has no LF counts; the empty text after a
/// last LF does not.
std::vector<std::string_view> split_lines(std::string_view text);

/// Offset of the first byte that is not well-formed UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text);

/// Number of Unicode code points of well-formed UTF-8.
std::int64_t count_code_points(std::string_view text);

/// The longest prefix of at most `max_code_points` code points.
std::string_view truncate_code_points(std::string_view text, std::int64_t max_code_points);

/// Words as `\s+` splits them over ASCII white space (what word perplexity counts).
std::int64_t count_words(std::string_view text);

/// Foreign text (a file's name, a key, a token) as a terminal may show it: on one line, and without
/// anything that the terminal would obey. Control characters become escapes, `\n`, `\x1b` and, from
/// U+007F on, `\u009b`; so do line separators and the marks that change the direction of the text. A
/// byte that is not UTF-8 becomes `\xff`. All other text stays as it is, and so does the meaning of a
/// line of JSON.
std::string printable(std::string_view text);

/// Text as one cell of a CSV file (RFC 4180): quoted when it must be. Text that a spreadsheet would
/// take for a formula gets a leading apostrophe; a number such as -1.5 stays a number.
std::string csv_field(std::string_view text);

/// 1234567 -> "1,234,567".
std::string group_digits(std::int64_t value);
/// 1610612736 -> "1.50 GiB".
std::string format_bytes(std::uint64_t size_bytes);

}  // namespace lowbank
