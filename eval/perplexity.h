#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "config/results/perplexity_metrics.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

class LanguageModel;

/// What is scored of a text (rules: docs/evaluate.md): non-overlapping chunks unless stride <
/// context.
struct PerplexityOptions {
  std::int64_t context = 512;   ///< tokens per chunk; >= 2
  std::int64_t stride = 0;      ///< tokens between windows, <= context; 0 = context
  std::int64_t max_chars = 0;   ///< code points of the text to use; 0 = all
  std::int64_t max_chunks = 0;  ///< 0 = all
  bool keep_last = false;       ///< score an incomplete last chunk as well
  bool special = false;         ///< add the tokenizer's special tokens
};

/// Token windows of a text, ready to be scored again and again (noise trials use the same ones).
struct PerplexityText {
  struct Window {
    std::int64_t begin = 0;  ///< first token
    std::int64_t length = 0;
    std::int64_t num_scored = 0;  ///< predictions of its last tokens that count
  };
  torch::Tensor ids_T;  ///< all tokens of the text, int64
  std::vector<Window> windows;
  std::int64_t num_words = 0;  ///< words and bytes of the text that scored tokens cover
  std::int64_t num_bytes = 0;
};

struct PerplexityResult {
  double nll_sum = 0;  ///< nats
  std::int64_t num_predicted = 0;
  double seconds = 0;
  double mean_nll() const { return nll_sum / static_cast<double>(num_predicted); }
};

/// Reads the text file `path`, UTF-8, and cuts it.
/// Errors: IoError; ConfigError when the text is shorter than a window, or the context is longer
/// than `max_context` (0 = no limit).
PerplexityText open_perplexity_text(const std::string& path, const PerplexityOptions& options,
                                    const tokenizers::Tokenizer& tokenizer,
                                    std::int64_t max_context);

/// Sum of the negative log-likelihoods. Errors: ResourceError when it is not finite and
/// `require_finite`.
PerplexityResult score_text(LanguageModel& model, const PerplexityText& text,
                            std::int64_t batch_size, bool show_progress,
                            bool require_finite = true);

/// The perplexities and what they were computed from.
PerplexityMetrics perplexity_metrics(const PerplexityResult& result, const PerplexityText& text,
                                     const PerplexityOptions& options);

}  // namespace lowbank
