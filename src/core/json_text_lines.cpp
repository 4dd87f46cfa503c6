#include "core/json_text_lines.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/json_reader.h"

namespace lowbank {
namespace {

// From this size on, strings are read in pieces.
constexpr std::size_t kPieceBytes = std::size_t{1} << 16;
// From this size on, a text gets room for all that the file can still hold: room that is not used
// takes no memory, and growing would copy the text.
constexpr std::size_t kLargeText = std::size_t{1} << 24;

}  // namespace

// A line is parsed without its long strings; what belongs to the key at the top is kept apart.
struct JsonTextLines::Line {
  explicit Line(std::string name) : where(std::move(name)) {}

  std::string where;
  std::string skeleton;
  std::string text;  // a long string under the key
  bool has_text = false;
  int depth = 0;
  // The string that is being read.
  bool in_literal = false;
  bool is_long = false;
  bool is_wanted = false;
  std::string piece;   // as it is spelled, from the last flush on
  std::string before;  // the string before it
  int escape = 0;      // bytes of an escape so far
  unsigned code_unit = 0;
  bool is_half = false;  // a high surrogate waits for the low one
};

JsonTextLines::JsonTextLines(const std::string& path, std::string name, std::string key)
    : reader_(path), name_(std::move(name)), key_(std::move(key)) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error) file_bytes_ = size;
}

bool JsonTextLines::next(std::string& text) {
  Line line(fmt::format("{} line {}", name_, number_ + 1));
  bool is_there = false;
  for (;;) {
    if (at_ == stretch_.size()) {
      stretch_ = reader_.next();
      at_ = 0;
      if (stretch_.empty()) break;
    }
    is_there = true;
    const char c = stretch_[at_++];
    if (c == '\n') break;
    if (line.in_literal) {
      add_literal_byte(line, c);
      continue;
    }
    if (c == '"') {
      const auto last = line.skeleton.find_last_not_of(" \t");
      const bool is_value = last != std::string::npos && line.skeleton[last] == ':';
      line.in_literal = true;
      line.is_long = false;
      line.is_wanted = line.depth == 1 && is_value && line.before == key_;
    } else if (c == '{' || c == '[') {
      ++line.depth;
    } else if (c == '}' || c == ']') {
      --line.depth;
    }
    line.skeleton += c;
  }
  if (!is_there) return false;
  ++number_;
  finish(line, text);
  return true;
}

void JsonTextLines::add_literal_byte(Line& line, char c) {
  if (c == '"' && line.escape == 0) return end_literal(line);
  const bool is_continuation = (static_cast<unsigned char>(c) & 0xC0u) == 0x80;
  const bool ends_whole = line.escape == 0 && !is_continuation && !(line.is_half && c == '\\');
  if (line.piece.size() >= kPieceBytes && ends_whole) flush_literal(line);
  line.piece += c;
  if (line.escape == 0) {
    if (c == '\\') line.escape = 1;
    if (c != '\\') line.is_half = false;
  } else if (line.escape == 1) {
    line.escape = c == 'u' ? 2 : 0;
    line.code_unit = 0;
  } else {
    const auto digit = static_cast<unsigned>(c >= 'a'   ? c - 'a' + 10
                                             : c >= 'A' ? c - 'A' + 10
                                                        : c - '0');
    line.code_unit = line.code_unit << 4 | (digit & 15U);
    line.escape = line.escape == 5 ? 0 : line.escape + 1;
    if (line.escape == 0) line.is_half = !line.is_half && line.code_unit >> 10 == 0xD800U >> 10;
  }
}

void JsonTextLines::flush_literal(Line& line) {
  const auto value = parse_json('"' + line.piece + '"', line.where);
  line.piece.clear();
  line.is_long = true;
  if (!line.is_wanted) return;
  line.has_text = true;
  if (line.text.size() >= kLargeText && line.text.capacity() < file_bytes_) {
    line.text.reserve(static_cast<std::size_t>(file_bytes_));
  }
  line.text += value.get_ref<const std::string&>();
}

void JsonTextLines::end_literal(Line& line) {
  line.in_literal = false;
  if (line.is_long) {
    flush_literal(line);
    line.before.clear();
  } else {
    line.skeleton += line.piece;
    line.before = std::exchange(line.piece, {});
    if (line.before.find('\\') != std::string::npos) {
      line.before = parse_json('"' + line.before + '"', line.where).get<std::string>();
    }
  }
  line.skeleton += '"';
}

void JsonTextLines::finish(Line& line, std::string& text) const {
  line.skeleton += line.piece;  // of a string without an end
  const JsonReader reader(parse_json(line.skeleton, line.where), line.where, kProgramFile);
  text = reader.text(key_);
  if (line.has_text) text = std::move(line.text);
}

}  // namespace lowbank
