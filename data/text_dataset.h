#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

#include "core/philox.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

/// Tokens of a text file, cut into examples of `context` tokens (non-overlapping, rest dropped).
/// An example predicts its tokens 1..context-1 from those before them. Copies share the tokens.
class TextDataset {
 public:
  /// Reads no more of the file than `max_examples` need (0: all of it).
  /// Errors: IoError for the file; ConfigError if the text has fewer tokens than one example.
  TextDataset(const std::string& path, const tokenizers::Tokenizer& tokenizer, std::int64_t context,
              std::int64_t max_examples = 0);

  std::int64_t size() const { return num_examples_; }
  /// Examples `indices` [B] as ids [B, context] int64.
  torch::Tensor batch(std::span<const std::int64_t> indices) const;
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(ids_->size()); }

 private:
  std::shared_ptr<const tokenizers::IdList> ids_;
  std::int64_t context_;
  std::int64_t num_examples_;
};

/// The random order in which training sees its examples. Every epoch is a permutation drawn from
/// the key and the epoch's number. Any position of the stream can therefore be computed without its
/// predecessors, and a resumed run continues exactly.
class EpochSampler {
 public:
  EpochSampler(std::int64_t num_examples, const RandomKey& key);
  /// Index of the example at `position` of the endless stream.
  std::int64_t at(std::int64_t position);

 private:
  std::int64_t num_examples_;
  RandomKey key_;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace lowbank
