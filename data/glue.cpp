#include "data/glue.h"

#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/suggest.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

const std::vector<SentenceTask>& glue_tasks() {
  static const std::vector<SentenceTask> tasks = {{.name = "mrpc",
                                                   .first_column = "#1 String",
                                                   .second_column = "#2 String",
                                                   .label_column = "Quality",
                                                   .classes = {"0", "1"}},
                                                  {.name = "sts-b",
                                                   .first_column = "sentence1",
                                                   .second_column = "sentence2",
                                                   .label_column = "score",
                                                   .min_score = 0,
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

}  // namespace

const SentenceTask& glue_task(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& task : glue_tasks()) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw ConfigError(fmt::format("task: unknown '{}', one of {}{}", name, fmt::join(names, ", "),
                                did_you_mean(name, names)));
}

std::vector<SentenceExample> read_glue(const SentenceTask& task, const std::string& path,
                                       GlueSplit split, std::int64_t limit) {
  return read_sentences(task, find_glue_file(path, split), limit);
}

}  // namespace lowbank
