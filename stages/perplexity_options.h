#pragma once

#include "config/parts/perplexity_config.h"
#include "eval/perplexity.h"

namespace lowbank {

inline PerplexityOptions perplexity_options(const PerplexityConfig& config) {
  return {.context = config.context,
          .stride = config.stride,
          .max_chars = config.max_chars,
          .max_chunks = config.max_chunks,
          .keep_last = config.keep_last,
          .special = config.special};
}

}  // namespace lowbank
