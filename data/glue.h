#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/sentence_table.h"

namespace lowbank {

enum class GlueSplit { kTrain, kDev };

/// Errors: ConfigError for a task that is not known, naming those that are.
const SentenceTask& glue_task(const std::string& name);

/// read_sentences of a file, or of a folder's train.tsv or train_subset.tsv (dev.tsv or
/// heldout_subset.tsv).
///
/// Source:  the files of gluebenchmark.com.
/// Errors:  as read_sentences; IoError for a folder with neither file.
std::vector<SentenceExample> read_glue(const SentenceTask& task, const std::string& path,
                                       GlueSplit split, std::int64_t limit = 0);

}  // namespace lowbank
