#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/sentence_table.h"
#include "tokenizers/tokenizer.h"
#include "train/batch.h"

namespace lowbank {

/// Sentences, or pairs of sentences, as ids, each with a label. If the sequences of a batch differ
/// in length, they are padded on the right. Targets are classes (int64), or values (float32) for a
/// task without classes.
class SentenceExamples : public Examples {
 public:
  /// Longer sequences are cut to `max_tokens`. The model distinguishes `num_token_types` kinds of
  /// segments; if that is 0, batches have no token types.
  /// Errors: as Tokenizer::encode_pair; ConfigError for a sentence without a token, and for pairs
  /// if the tokenizer distinguishes more kinds of segments than the model.
  SentenceExamples(const SentenceTask& task, const std::vector<SentenceExample>& examples,
                   const tokenizers::Tokenizer& tokenizer, std::int64_t max_tokens,
                   std::int64_t num_token_types);
  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  Batch batch(std::span<const Visit> visits) const override;
  /// Number of tokens of each example.
  std::vector<std::int64_t> lengths() const;

 private:
  bool has_classes_, has_token_types_;
  std::vector<tokenizers::PairEncoding> sequences_;
  std::vector<double> labels_;
  std::int64_t pad_id_;
};

}  // namespace lowbank
