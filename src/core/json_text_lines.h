#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/text.h"

namespace lowbank {

/// Reads the string under one key from each line of a JSONL file. Of the file, no more is in memory
/// than the text of one line and a stretch.
class JsonTextLines {
 public:
  /// `name` stands for the file in errors. Errors: IoError when it cannot be opened.
  JsonTextLines(const std::string& path, std::string name, std::string key);

  /// False at the end. Errors: IoError naming the line that is no object with such a string.
  bool next(std::string& text);
  std::size_t num_lines() const { return number_; }

 private:
  struct Line;
  void add_literal_byte(Line& line, char c);
  void flush_literal(Line& line);
  void end_literal(Line& line);
  void finish(Line& line, std::string& text) const;

  TextReader reader_;
  std::string name_;
  std::string key_;
  std::uint64_t file_bytes_ = 0;
  std::string stretch_;
  std::size_t at_ = 0;
  std::size_t number_ = 0;
};

}  // namespace lowbank
