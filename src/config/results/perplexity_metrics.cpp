#include "config/results/perplexity_metrics.h"

namespace lowbank {

ResultFields PerplexityMetrics::fields() {
  return {{"nll_sum", &nll_sum},
          {"num_predicted", &num_predicted},
          ResultField("perplexity", &perplexity).required(),
          {"word_perplexity", &word_perplexity},
          {"byte_perplexity", &byte_perplexity},
          {"bits_per_byte", &bits_per_byte},
          {"tokens_per_second", &tokens_per_second},
          {"context", &context},
          {"stride", &stride},
          {"keep_last", &keep_last},
          {"special", &special},
          {"max_chars", &max_chars},
          {"max_chunks", &max_chunks},
          {"num_chunks", &num_chunks},
          {"num_tokens", &num_tokens},
          {"num_words", &num_words},
          {"num_bytes", &num_bytes}};
}

}  // namespace lowbank
