#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "config/run_stage.h"
#include "core/philox.h"
#include "io/sentence_encoder.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

class LanguageModel;

/// Pairs of sentences as ids, and how similar people judged them to be.
struct SentencePairs {
  std::string path;                                 ///< the file from which they were read
  std::vector<tokenizers::PairEncoding> sentences;  ///< each alone; pair i is 2 i and 2 i + 1
  std::vector<double> scores;
  std::int64_t pad_id = 0;
  std::int64_t num_tokens = 0;  ///< of all sentences, special tokens included
};

/// Reads the first `limit` pairs (0 = all) of STS-B's dev.tsv in the folder `path` (rules:
/// docs/evaluate.md). Sentences are made lower case if `encoder` says so, and cut to its max_tokens,
/// or to `max_context` (0 = no limit) if that is less.
/// Errors: as read_glue and Tokenizer::encode_pair; ConfigError for a sentence without a token.
SentencePairs open_sentence_pairs(const std::string& path, std::int64_t limit,
                                  const tokenizers::Tokenizer& tokenizer,
                                  const SentenceEncoder& encoder, std::int64_t max_context);

/// One vector for each sentence, [S, D] float32 on the CPU, in the order of `sentences`: of the last
/// hidden states of the sentence's tokens the mean, the first, or the largest value of each
/// dimension. Sentences of about one length run together, `batch_size` at a time; padding has no
/// effect.
/// Errors: ResourceError for a vector that is not finite; Interrupted after Ctrl-C.
torch::Tensor pooled_vectors(LanguageModel& model,
                             const std::vector<tokenizers::PairEncoding>& sentences,
                             SentenceEncoder::Pooling pooling, std::int64_t pad_id,
                             std::int64_t batch_size, bool show_progress);

/// Adds the correlations of the pairs' cosine similarities with their scores to the metrics, each
/// with its bootstrapped standard error, whose samples `key` draws. Errors: as pooled_vectors;
/// ConfigError if all scores are equal.
void evaluate_sentence_pairs(LanguageModel& model, const SentencePairs& pairs,
                             SentenceEncoder::Pooling pooling, std::int64_t batch_size,
                             const RandomKey& key, Metrics& metrics);

}  // namespace lowbank
