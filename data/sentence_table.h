#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace lowbank {

/// A sentence, or a pair of sentences, and what is said of it.
struct SentenceExample {
  std::string first, second;  ///< `second` is empty where the task has single sentences
  double label = 0;           ///< the score, or the number of the class
};

/// Where a table of sentences keeps what, and what its labels may be.
struct SentenceTask {
  std::string name = {};
  std::string first_column = {};
  std::string second_column = {};  ///< empty: single sentences
  std::string label_column = {};
  /// What the label column may say, class 0 first; empty: a score.
  std::vector<std::string> classes = {};
  /// Scores lie in [min_score, max_score].
  double min_score = std::numeric_limits<double>::lowest();
  double max_score = std::numeric_limits<double>::max();
};

/// The examples of a TSV file in its order; the first `limit` of them (0 = all). Columns go by the
/// names of the header; a quotation mark is a character like others; empty lines are passed over.
///
/// Errors: IoError for a missing or unreadable file, one that is not UTF-8, a missing or repeated
///         column, a file without examples; and naming the line, one with another number of cells
///         than the header has, an empty sentence, or a label that the task does not have.
std::vector<SentenceExample> read_sentences(const SentenceTask& task, const std::string& file,
                                            std::int64_t limit = 0);

}  // namespace lowbank
