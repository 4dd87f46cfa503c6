#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace lowbank {

/// A sentence, or a pair of sentences, with its label.
struct SentenceExample {
  std::string first, second;  ///< `second` is empty where the task has single sentences
  double label = 0;           ///< the score, or the number of the class
};

/// The columns of a table of sentences, and the labels that it may have.
struct SentenceTask {
  std::string name = {};
  std::string first_column = {};
  std::string second_column = {};  ///< empty: single sentences
  std::string label_column = {};
  /// The texts of the label column, class 0 first; empty if labels are scores.
  std::vector<std::string> classes = {};
  /// Scores lie in [min_score, max_score].
  double min_score = std::numeric_limits<double>::lowest();
  double max_score = std::numeric_limits<double>::max();
};

/// The first `limit` examples (0 = all) of a TSV file, in the file's order. The first line names
/// the columns. Quotation marks have no special meaning; empty lines are skipped.
///
/// Errors: IoError for a missing or unreadable file, one that is not UTF-8, a missing or repeated
///         column, and a file without examples; IoError naming the line for a line with another
///         number of cells than the header, an empty sentence, or a label that the task does not
///         have.
std::vector<SentenceExample> read_sentences(const SentenceTask& task, const std::string& file,
                                            std::int64_t limit = 0);

}  // namespace lowbank
