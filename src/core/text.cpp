#include "core/text.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/opened_files.h"
#include "core/standard_streams.h"

namespace lowbank {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

// Bytes of the well-formed sequence at text[at], or 0. Source: Unicode 15, table 3-7.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// The code point of a whole well-formed sequence.
char32_t code_point(std::string_view sequence) {
  if (sequence.size() == 1) return static_cast<unsigned char>(sequence[0]);
  char32_t code = static_cast<unsigned char>(sequence[0]) & (0x7Fu >> sequence.size());
  for (const char c : sequence.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

// Characters that a terminal obeys or that move the text around them.
bool is_control(char32_t code) {
  const bool is_c0_or_c1 = code < 0x20 || (code >= 0x7F && code <= 0x9F);
  const bool separates_lines = code == 0x2028 || code == 0x2029;
  const bool turns_text = code == 0x061C || code == 0x200E || code == 0x200F ||
                          (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return is_c0_or_c1 || separates_lines || turns_text;
}

std::string escape(char32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  // From U+007F on as JSON writes it: JSON has escaped the characters below by itself.
  const auto number = static_cast<std::uint32_t>(code);
  return code < 0x20 ? fmt::format("\\x{:02x}", number) : fmt::format("\\u{:04x}", number);
}

bool is_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

// Spreadsheets compute what begins so, in East Asian versions also the wide forms.
bool begins_formula(std::string_view text) {
  for (const std::string_view start :
       {"=", "+", "-", "@", "\t", "\r", "\n", "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"}) {
    if (text.starts_with(start)) return true;
  }
  return false;
}

constexpr std::size_t kMaxCharacterBytes = 4;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// `size_bytes` is 0 for a pipe. Errors: IoError.
File open_file(const std::string& path, std::size_t& size_bytes) {
  if (path == "/dev/stdin" && was_closed_at_start(STDIN_FILENO)) {
    throw IoError("standard input: cannot read: it is closed");
  }
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  if (S_ISDIR(info.st_mode)) throw IoError(path + ": is a folder, a file is wanted");
  size_bytes = static_cast<std::size_t>(info.st_size);
  File file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw IoError(errno_message(path, "cannot open", errno));
  if (S_ISREG(info.st_mode)) note_opened_file(path);
  return file;
}

// Appends what one read gives; false at the end of the file. Errors: IoError.
bool append_bytes(std::FILE* file, const std::string& path, std::string& bytes) {
  char buffer[1 << 16];
  const std::size_t count = std::fread(buffer, 1, sizeof(buffer), file);
  if (std::ferror(file) != 0) throw IoError(errno_message(path, "cannot read", errno));
  bytes.append(buffer, count);
  return count > 0;
}

}  // namespace

std::string read_bytes(const std::string& path) {
  std::size_t size_bytes = 0;
  const auto file = open_file(path, size_bytes);
  std::string bytes;
  bytes.reserve(size_bytes);
  while (append_bytes(file.get(), path, bytes)) {
  }
  return bytes;
}

TextReader::TextReader(const std::string& path) : path_(path), file_(nullptr, std::fclose) {
  std::size_t size_bytes = 0;
  file_ = open_file(path, size_bytes);
}

std::string TextReader::next(std::size_t max_bytes) {
  std::string text;
  while (text.empty()) {
    bool is_more = true;
    while (is_more && raw_.size() < std::max(max_bytes, kMaxCharacterBytes))
      is_more = append_bytes(file_.get(), path_, raw_);
    if (!is_more && raw_.empty()) break;
    std::size_t end = find_invalid_utf8(raw_);
    // The last character may be cut off.
    const bool is_cut_off =
        end != std::string::npos && is_more && end + kMaxCharacterBytes > raw_.size();
    if (end != std::string::npos && !is_cut_off) {
      throw IoError(
          fmt::format("{}: not UTF-8 at byte {}; convert it with iconv", path_, offset_ + end));
    }
    end = std::min(end, raw_.size());
    std::size_t at = offset_ == 0 && raw_.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    text.reserve(end);
    for (; at < end; ++at) {
      const char c = raw_[at];
      if (c == '\n' && was_return_) {
        was_return_ = false;
        continue;
      }
      was_return_ = c == '\r';
      text.push_back(was_return_ ? '\n' : c);
    }
    raw_.erase(0, end);
    offset_ += end;
  }
  return text;
}

std::string read_text(const std::string& path) {
  TextReader reader(path);
  std::string text;
  std::error_code error;
  const auto size_bytes = std::filesystem::file_size(path, error);
  if (!error) text.reserve(size_bytes);
  for (std::string more = reader.next(); !more.empty(); more = reader.next()) text += more;
  return text;
}

std::string read_regular_text(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    throw IoError(path + ": is a device or a pipe, which may never end; give a file");
  }
  return read_text(path);
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

std::int64_t count_code_points(std::string_view text) {
  std::int64_t count = 0;
  for (const char c : text) count += is_continuation(c) ? 0 : 1;
  return count;
}

std::string_view truncate_code_points(std::string_view text, std::int64_t max_code_points) {
  std::int64_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!is_continuation(text[at]) && count++ == max_code_points) return text.substr(0, at);
  }
  return text;
}

std::int64_t count_words(std::string_view text) {
  std::int64_t count = 0;
  bool in_word = false;
  for (const char c : text) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space && !in_word) ++count;
    in_word = !space;
  }
  return count;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text, 0);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(sequence.front()));
    } else if (const char32_t code = code_point(sequence); is_control(code)) {
      out += escape(code);
    } else {
      out += sequence;
    }
    text.remove_prefix(sequence.size());
  }
  return out;
}

std::string csv_field(std::string_view text) {
  std::string cell(text);
  if (begins_formula(text) && !is_number(text)) cell.insert(0, 1, '\'');
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string group_digits(std::int64_t value) {
  std::string digits = fmt::format("{}", value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string format_bytes(std::uint64_t size_bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(size_bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", size_bytes)
                   : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace lowbank
