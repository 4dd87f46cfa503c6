#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/sentence_table.h"
#include "tokenizers/tokenizer.h"
#include "train/batch.h"

namespace lowbank {

/// Sentences, or pairs of them, with a label each, as ids: padded on the right where a batch has
/// them of different lengths. Targets are classes (int64), or values (float32) of a task without
/// classes.
class SentenceExamples : public Examples {
 public:
  /// Longer sequences are cut to `max_tokens`. The sequences know `num_token_types` kinds of
  /// segments; 0: none, and the model is told nothing of them.
  /// Errors: as Tokenizer::encode_pair; ConfigError for a sentence without a token, and for pairs
  /// where the model tells fewer kinds of segments apart than the tokenizer.
  SentenceExamples(const SentenceTask& task, const std::vector<SentenceExample>& examples,
                   const tokenizers::Tokenizer& tokenizer, std::int64_t max_tokens,
                   std::int64_t num_token_types);
  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  Batch batch(std::span<const Visit> visits) const override;
  /// Tokens of each example.
  std::vector<std::int64_t> lengths() const;

 private:
  bool has_classes_, has_token_types_;
  std::vector<tokenizers::PairEncoding> sequences_;
  std::vector<double> labels_;
  std::int64_t pad_id_;
};

}  // namespace lowbank
