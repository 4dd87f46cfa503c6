#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Whole file as bytes. Errors: IoError naming the path.
std::string read_bytes(const std::string& path);

/// A text file (text, TSV, CSV, JSONL): a UTF-8 byte order mark is dropped, CRLF and CR become LF.
/// Errors: IoError when the file cannot be read or is not UTF-8 (naming the byte offset).
std::string read_text(const std::string& path);

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

/// 1234567 -> "1,234,567".
std::string group_digits(std::int64_t value);
/// 1610612736 -> "1.50 GiB".
std::string format_bytes(std::uint64_t size_bytes);

}  // namespace lowbank
