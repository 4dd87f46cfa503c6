#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/sentence_table.h"

namespace lowbank {

enum class GlueSplit { kTrain, kDev };

/// The columns and labels of a GLUE task, by its name. Errors: ConfigError for an unknown task; the
/// message lists the known ones.
const SentenceTask& glue_task(const std::string& name);

/// Reads the first `limit` examples (0 = all) of a file; or of a folder, from its train.tsv or
/// train_subset.tsv for kTrain, and from its dev.tsv or heldout_subset.tsv for kDev.
///
/// Source:  the files of gluebenchmark.com.
/// Errors:  as read_sentences; IoError for a folder with neither file.
std::vector<SentenceExample> read_glue(const SentenceTask& task, const std::string& path,
                                       GlueSplit split, std::int64_t limit = 0);

}  // namespace lowbank
