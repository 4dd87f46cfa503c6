#include "data/sentence_table.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {
namespace {

std::vector<std::string_view> split_tabs(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const auto tab = line.find('\t');
    cells.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return cells;
    line.remove_prefix(tab + 1);
  }
}

std::size_t find_column(const std::vector<std::string_view>& header, const std::string& name,
                        const std::string& file) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) {
    throw IoError(
        fmt::format("{}: column '{}' is missing; the first line has to name it", file, name));
  }
  if (std::find(found + 1, header.end(), name) != header.end()) {
    throw IoError(fmt::format("{}: two columns are called '{}'", file, name));
  }
  return static_cast<std::size_t>(found - header.begin());
}

double parse_label(const SentenceTask& task, std::string_view cell, const std::string& where) {
  if (!task.classes.empty()) {
    const auto found = std::find(task.classes.begin(), task.classes.end(), cell);
    if (found != task.classes.end()) return static_cast<double>(found - task.classes.begin());
    throw IoError(fmt::format("{}: {}: must be one of {}; got '{}'", where, task.label_column,
                              fmt::join(task.classes, ", "), cell));
  }
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  // The condition is negated so that it refuses NaN too.
  if (error != std::errc() || end != cell.data() + cell.size() ||
      !(value >= task.min_score && value <= task.max_score)) {
    const bool has_range = task.max_score < std::numeric_limits<double>::max();
    throw IoError(fmt::format(
        "{}: {}: must be a number{}; got '{}'", where, task.label_column,
        has_range ? fmt::format(" in [{}, {}]", task.min_score, task.max_score) : "", cell));
  }
  return value;
}

}  // namespace

std::vector<SentenceExample> read_sentences(const SentenceTask& task, const std::string& file,
                                            std::int64_t limit) {
  const std::string text = read_text(file);
  const auto lines = split_lines(text);
  const auto header = split_tabs(lines.empty() ? std::string_view() : lines[0]);
  std::vector<std::size_t> sentences = {find_column(header, task.first_column, file)};
  if (!task.second_column.empty()) {
    sentences.push_back(find_column(header, task.second_column, file));
  }
  const std::size_t label = find_column(header, task.label_column, file);

  std::vector<SentenceExample> examples;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (limit > 0 && static_cast<std::int64_t>(examples.size()) == limit) break;
    if (lines[i].empty()) continue;
    const std::string where = fmt::format("{}: line {}", file, i + 1);
    const auto cells = split_tabs(lines[i]);
    if (cells.size() != header.size()) {
      throw IoError(fmt::format("{}: {} cells between tabs; the header has {}", where, cells.size(),
                                header.size()));
    }
    for (const std::size_t column : sentences) {
      if (cells[column].empty())
        throw IoError(fmt::format("{}: {} is empty", where, header[column]));
    }
    examples.push_back(
        {.first = std::string(cells[sentences.front()]),
         .second = sentences.size() > 1 ? std::string(cells[sentences[1]]) : std::string(),
         .label = parse_label(task, cells[label], where)});
  }
  if (examples.empty()) throw IoError(fmt::format("{}: has no examples below the header", file));
  return examples;
}

}  // namespace lowbank
