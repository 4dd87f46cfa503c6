#pragma once

#include <cstdint>
#include <string>

#include "config/field.h"

namespace lowbank {

/// How perplexity is measured (docs/evaluate.md): on chunks that do not overlap, or on windows that
/// do if stride < context.
struct PerplexityConfig {
  std::string data;             ///< UTF-8 text
  std::int64_t context = 512;   ///< tokens per chunk; >= 2
  std::int64_t stride = 0;      ///< 0 = context
  std::int64_t max_chars = 0;   ///< code points of the text to use; 0 = all
  std::int64_t max_chunks = 0;  ///< 0 = all
  std::int64_t batch_size = 8;  ///< chunks per forward pass; no effect on the figures
  bool keep_last = false;       ///< score an incomplete last chunk as well
  bool special = false;         ///< add the tokenizer's special tokens
  Fields fields() const;
  void validate() const;
};

}  // namespace lowbank
