#pragma once

#include <string>
#include <vector>

#include "bench/bench_case.h"

namespace lowbank {

/// Cases on the texts of GLUE: a model of MiniLM's shape with random weights, batches of about one
/// length against the same texts padded to 128 tokens.
std::vector<std::string> text_case_names();
bool is_text_case(const std::string& name);

/// The texts are those of the folder glue/ in $LOWBANK_SHARED_DATA, the tokenizer that of
/// `checkpoint`, or where it is empty the vocabulary of BERT in the same place.
/// Errors: ConfigError naming the variable where it is not set; IoError for a file; ConfigError for
/// a tokenizer with more pieces than the model has.
BenchCase make_text_case(const std::string& name, const std::string& checkpoint);

}  // namespace lowbank
