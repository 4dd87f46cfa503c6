#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lowbank {

/// One example of a GLUE task.
struct GlueExample {
  std::string first, second;  ///< the two sentences
  double label = 0;           ///< the score, or the number of the class
};

/// Where a GLUE task keeps what in its files.
struct GlueTask {
  std::string name;
  std::string first_column, second_column, label_column;
  /// What the label column may say, class 0 first; empty: a score.
  std::vector<std::string> classes = {};
  double max_score = 0;  ///< scores lie in [0, max_score]
};

enum class GlueSplit { kTrain, kDev };

/// Errors: ConfigError for a task that is not known, naming those that are.
const GlueTask& glue_task(const std::string& name);

/// The examples of a file, or of a folder's train.tsv or train_subset.tsv (dev.tsv or
/// heldout_subset.tsv), in its order; the first `limit` of them (0 = all). Columns go by the names
/// of the header; a quotation mark is a character like others; empty lines are passed over.
///
/// Source:  the files of gluebenchmark.com.
/// Errors:  IoError for a missing or unreadable file, one that is not UTF-8, a missing or repeated
///          column, a file without examples; and naming the line, one with another number of cells
///          than the header has, an empty sentence, or a label that the task does not have.
std::vector<GlueExample> read_glue(const GlueTask& task, const std::string& path, GlueSplit split,
                                   std::int64_t limit = 0);

}  // namespace lowbank
