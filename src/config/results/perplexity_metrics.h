#pragma once

#include "config/results/result_field.h"

namespace lowbank {

/// metrics.json of `evaluate` on a text, without the name of the task (docs/evaluate.md).
struct PerplexityMetrics {
  double nll_sum = kNotReported;  ///< nats
  Count num_predicted = {};
  double perplexity = kNotReported;  ///< per token
  double word_perplexity = kNotReported;
  double byte_perplexity = kNotReported;
  double bits_per_byte = kNotReported;
  double tokens_per_second = kNotReported;
  Count context = {};  ///< tokens of a window
  Count stride = {};
  bool keep_last = false;
  bool special = false;
  Count max_chars = {};
  Count max_chunks = {};
  Count num_chunks = {};
  Count num_tokens = {};
  Count num_words = {};
  Count num_bytes = {};
  ResultFields fields();
};

}  // namespace lowbank
