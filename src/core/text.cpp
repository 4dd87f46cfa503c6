#include "core/text.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <sys/stat.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/opened_files.h"

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

}  // namespace

std::string read_bytes(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  if (S_ISDIR(info.st_mode)) throw IoError(path + ": is a folder, a file is wanted");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) throw IoError(errno_message(path, "cannot open", errno));
  std::string bytes;
  bytes.reserve(static_cast<std::size_t>(info.st_size));
  char buffer[1 << 16];
  while (const std::size_t n = std::fread(buffer, 1, sizeof(buffer), file.get())) {
    bytes.append(buffer, n);
  }
  if (std::ferror(file.get()) != 0) throw IoError(errno_message(path, "cannot read", errno));
  if (S_ISREG(info.st_mode)) note_opened_file(path);
  return bytes;
}

std::string read_text(const std::string& path) {
  std::string text = read_bytes(path);
  if (const auto bad = find_invalid_utf8(text); bad != std::string::npos) {
    throw IoError(fmt::format("{}: not UTF-8 at byte {}; convert it with iconv", path, bad));
  }
  const std::size_t start = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  std::size_t write = 0;
  for (std::size_t read = start; read < text.size(); ++read) {
    char c = text[read];
    if (c == '\r') {
      if (read + 1 < text.size() && text[read + 1] == '\n') ++read;
      c = '\n';
    }
    text[write++] = c;
  }
  text.resize(write);
  return text;
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
