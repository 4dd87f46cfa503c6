#include "train/sentence_examples.h"

#include <algorithm>
#include <optional>

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "core/error.h"
#include "data/length_batches.h"

namespace lowbank {

SentenceExamples::SentenceExamples(const SentenceTask& task,
                                   const std::vector<SentenceExample>& examples,
                                   const tokenizers::Tokenizer& tokenizer, std::int64_t max_tokens,
                                   std::int64_t num_token_types)
    : has_classes_(!task.classes.empty()),
      has_token_types_(num_token_types > 0),
      pad_id_(tokenizer.special_ids().pad.value_or(0)) {
  for (const auto& example : examples) {
    const auto second =
        task.second_column.empty() ? std::nullopt : std::optional<std::string_view>(example.second);
    auto sequence = tokenizer.encode_pair(example.first, second, max_tokens);
    if (sequence.ids.empty()) {
      throw ConfigError(fmt::format("the tokenizer makes no token of '{}'", example.first));
    }
    const auto& types = sequence.type_ids;
    if (has_token_types_ && *std::max_element(types.begin(), types.end()) >= num_token_types) {
      throw ConfigError(fmt::format(
          "pairs of sentences: the tokenizer marks the second one with token type {}; the model's "
          "type_vocab_size is {}",
          *std::max_element(types.begin(), types.end()), num_token_types));
    }
    sequences_.push_back(std::move(sequence));
    labels_.push_back(example.label);
  }
}

Batch SentenceExamples::batch(std::span<const Visit> visits) const {
  Batch batch{.input = ModelInput(torch::Tensor()), .targets = {}};
  std::vector<double> labels;
  for (const auto& visit : visits) {
    const auto index = static_cast<std::size_t>(visit.example);
    batch.indices.push_back(visit.example);
    batch.num_tokens += static_cast<std::int64_t>(sequences_[index].ids.size());
    labels.push_back(labels_[index]);
  }
  const auto padded = pad_batch(sequences_, batch.indices, pad_id_);
  batch.input = ModelInput(padded.ids_BT, padded.mask_BT,
                           has_token_types_ ? padded.type_ids_BT : torch::Tensor());
  batch.targets = at::tensor(labels, at::kDouble).to(has_classes_ ? at::kLong : at::kFloat);
  batch.weight = static_cast<double>(labels.size());
  return batch;
}

std::vector<std::int64_t> SentenceExamples::lengths() const { return sequence_lengths(sequences_); }

}  // namespace lowbank
