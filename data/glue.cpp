#include "data/glue.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/suggest.h"
#include "core/text.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

const std::vector<GlueTask>& glue_tasks() {
  static const std::vector<GlueTask> tasks = {{.name = "mrpc",
                                               .first_column = "#1 String",
                                               .second_column = "#2 String",
                                               .label_column = "Quality",
                                               .classes = {"0", "1"}},
                                              {.name = "sts-b",
                                               .first_column = "sentence1",
                                               .second_column = "sentence2",
                                               .label_column = "score",
                                               .max_score = 5}};
  return tasks;
}

std::string find_glue_file(const std::string& path, GlueSplit split) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  const bool trains = split == GlueSplit::kTrain;
  const char* const names[] = {trains ? "train.tsv" : "dev.tsv",
                               trains ? "train_subset.tsv" : "heldout_subset.tsv"};
  for (const auto* name : names) {
    const auto file = fs::path(path) / name;
    if (fs::exists(file, error)) return file.string();
  }
  throw IoError(fmt::format("{}: has neither {} nor {}", path, names[0], names[1]));
}

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

double parse_label(const GlueTask& task, std::string_view cell, const std::string& where) {
  if (!task.classes.empty()) {
    const auto found = std::find(task.classes.begin(), task.classes.end(), cell);
    if (found != task.classes.end()) return static_cast<double>(found - task.classes.begin());
    throw IoError(fmt::format("{}: {}: must be one of {}; got '{}'", where, task.label_column,
                              fmt::join(task.classes, ", "), cell));
  }
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  // Written so that NaN is refused too.
  if (error != std::errc() || end != cell.data() + cell.size() ||
      !(value >= 0 && value <= task.max_score)) {
    throw IoError(fmt::format("{}: {}: must be a number in [0, {}]; got '{}'", where,
                              task.label_column, task.max_score, cell));
  }
  return value;
}

}  // namespace

const GlueTask& glue_task(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& task : glue_tasks()) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw ConfigError(fmt::format("task: unknown '{}', one of {}{}", name, fmt::join(names, ", "),
                                did_you_mean(name, names)));
}

std::vector<GlueExample> read_glue(const GlueTask& task, const std::string& path, GlueSplit split,
                                   std::int64_t limit) {
  const std::string file = find_glue_file(path, split);
  const std::string text = read_text(file);
  const auto lines = split_lines(text);
  const auto header = split_tabs(lines.empty() ? std::string_view() : lines[0]);
  const std::size_t first = find_column(header, task.first_column, file);
  const std::size_t second = find_column(header, task.second_column, file);
  const std::size_t label = find_column(header, task.label_column, file);

  std::vector<GlueExample> examples;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (limit > 0 && static_cast<std::int64_t>(examples.size()) == limit) break;
    if (lines[i].empty()) continue;
    const std::string where = fmt::format("{}: line {}", file, i + 1);
    const auto cells = split_tabs(lines[i]);
    if (cells.size() != header.size()) {
      throw IoError(fmt::format("{}: {} cells between tabs; the header has {}", where, cells.size(),
                                header.size()));
    }
    for (const std::size_t column : {first, second}) {
      if (cells[column].empty())
        throw IoError(fmt::format("{}: {} is empty", where, header[column]));
    }
    examples.push_back({.first = std::string(cells[first]),
                        .second = std::string(cells[second]),
                        .label = parse_label(task, cells[label], where)});
  }
  if (examples.empty()) throw IoError(fmt::format("{}: has no examples below the header", file));
  return examples;
}

}  // namespace lowbank
