#pragma once

#include <string>
#include <vector>

#include "bench/bench_case.h"

namespace lowbank {

/// Names of the cases on the texts of GLUE. They time a model of MiniLM's shape with random weights
/// on batches of about one length, compared with the same texts padded to 128 tokens.
std::vector<std::string> text_case_names();
bool is_text_case(const std::string& name);

/// Makes a case. The texts are in the folder glue/ of $LOWBANK_SHARED_DATA. The tokenizer is that
/// of `checkpoint`, or BERT's from $LOWBANK_SHARED_DATA if `checkpoint` is empty.
/// Errors: ConfigError if the variable is not set; IoError for a file; ConfigError for a tokenizer
/// with more tokens than the model.
BenchCase make_text_case(const std::string& name, const std::string& checkpoint);

}  // namespace lowbank
