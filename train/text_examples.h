#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/philox.h"
#include "data/text_dataset.h"
#include "data/token_masking.h"
#include "tokenizers/tokenizer.h"
#include "train/batch.h"

namespace lowbank {

/// Sequences [B, T] of which each token predicts the next one; the targets are tokens 1..T-1.
Batch next_token_batch(const torch::Tensor& ids_BT);

/// The examples of a text for predicting next tokens.
class NextTokenExamples : public Examples {
 public:
  explicit NextTokenExamples(TextDataset text) : text_(std::move(text)) {}
  std::int64_t size() const override { return text_.size(); }
  Batch batch(std::span<const Visit> visits) const override;

 private:
  TextDataset text_;
};

/// The examples of a text for guessing masked tokens (data/token_masking.h), each between the
/// tokenizer's [CLS] and [SEP]. Each epoch masks other tokens.
class MaskedTokenExamples : public Examples {
 public:
  /// Examples of `context` tokens, [CLS] and [SEP] included; `max_examples` as for TextDataset.
  /// Errors: as TextDataset; ConfigError for a tokenizer without [CLS], [SEP] or [MASK], and a
  /// context that leaves no room between them.
  MaskedTokenExamples(const std::string& path, const tokenizers::Tokenizer& tokenizer,
                      std::int64_t context, const RandomKey& key, std::int64_t max_examples = 0);
  std::int64_t size() const override { return text_.size(); }
  Batch batch(std::span<const Visit> visits) const override;

 private:
  std::int64_t cls_id_, sep_id_;
  TextDataset text_;
  MaskingRule rule_;
  RandomKey key_;
};

}  // namespace lowbank
