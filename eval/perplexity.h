#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "config/results/perplexity_metrics.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

class LanguageModel;

/// Which parts of a text are scored (rules: docs/evaluate.md): chunks that do not overlap, or
/// windows that do if stride < context.
struct PerplexityOptions {
  std::int64_t context = 512;   ///< tokens per chunk; >= 2
  std::int64_t stride = 0;      ///< tokens between windows, <= context; 0 = context
  std::int64_t max_chars = 0;   ///< code points of the text to use; 0 = all
  std::int64_t max_chunks = 0;  ///< 0 = all
  bool keep_last = false;       ///< score an incomplete last chunk as well
  bool special = false;         ///< add the tokenizer's special tokens
};

/// A text cut into token windows, which can be scored repeatedly (all noise trials use the same).
struct PerplexityText {
  struct Window {
    std::int64_t begin = 0;  ///< first token
    std::int64_t length = 0;
    std::int64_t num_scored = 0;  ///< the predictions of this many last tokens count
  };
  tokenizers::IdList ids;  ///< tokens of the text; with max_chunks, those of the chunks
  std::vector<Window> windows;
  std::int64_t num_words = 0;  ///< words and bytes of the text that scored tokens cover
  std::int64_t num_bytes = 0;
};

struct PerplexityResult {
  double nll_sum = 0;  ///< sum of the negative log-likelihoods, in nats
  std::int64_t num_predicted = 0;
  double seconds = 0;
  double mean_nll() const { return nll_sum / static_cast<double>(num_predicted); }
};

/// Reads and tokenizes the UTF-8 text file `path`, as much of it as the options use, and cuts it
/// into windows.
/// Errors: IoError; ConfigError if the text is shorter than a window, or the context is longer than
/// `max_context` (0 = no limit).
PerplexityText open_perplexity_text(const std::string& path, const PerplexityOptions& options,
                                    const tokenizers::Tokenizer& tokenizer,
                                    std::int64_t max_context);

/// Scores all windows, `batch_size` at a time. Errors: ResourceError if the sum of the negative
/// log-likelihoods is not finite and `require_finite` is set.
PerplexityResult score_text(LanguageModel& model, const PerplexityText& text,
                            std::int64_t batch_size, bool show_progress,
                            bool require_finite = true);

/// The perplexities and the figures from which they were computed.
PerplexityMetrics perplexity_metrics(const PerplexityResult& result, const PerplexityText& text,
                                     const PerplexityOptions& options);

}  // namespace lowbank
