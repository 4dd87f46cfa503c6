#include "train/text_examples.h"

#include <optional>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

std::vector<std::int64_t> indices_of(std::span<const Visit> visits) {
  std::vector<std::int64_t> indices;
  for (const auto& visit : visits) indices.push_back(visit.example);
  return indices;
}

std::int64_t require_token(std::optional<std::int64_t> id, const char* name) {
  if (id.has_value()) return *id;
  throw ConfigError(fmt::format(
      "objective: masked_lm needs a tokenizer with a {} token; this checkpoint's has none", name));
}

std::int64_t text_tokens(std::int64_t context) {
  if (context > 2) return context - 2;
  throw ConfigError(fmt::format(
      "data.context: must be >= 3 for masked_lm, [CLS] and [SEP] included; got {}", context));
}

}  // namespace

Batch next_token_batch(const torch::Tensor& ids_BT) {
  const std::int64_t num_targets = ids_BT.size(0) * (ids_BT.size(1) - 1);
  return {.input = ModelInput(ids_BT),
          .targets = ids_BT.narrow(1, 1, ids_BT.size(1) - 1),
          .weight = static_cast<double>(num_targets),
          .num_tokens = num_targets};
}

Batch NextTokenExamples::batch(std::span<const Visit> visits) const {
  auto indices = indices_of(visits);
  Batch batch = next_token_batch(text_.batch(indices));
  batch.indices = std::move(indices);
  return batch;
}

MaskedTokenExamples::MaskedTokenExamples(const std::string& path,
                                         const tokenizers::Tokenizer& tokenizer,
                                         std::int64_t context, const RandomKey& key,
                                         std::int64_t max_examples)
    : cls_id_(require_token(tokenizer.special_ids().cls, "[CLS]")),
      sep_id_(require_token(tokenizer.special_ids().sep, "[SEP]")),
      text_(path, tokenizer, text_tokens(context), max_examples),
      key_(key) {
  const auto special = tokenizer.special_ids();
  rule_.mask_id = require_token(special.mask, "[MASK]");
  rule_.vocab_size = tokenizer.vocab_size();
  for (const auto& id : {special.bos, special.eos, special.unk, special.pad, special.cls,
                         special.sep, special.mask}) {
    if (id.has_value()) rule_.special_ids.insert(*id);
  }
}

Batch MaskedTokenExamples::batch(std::span<const Visit> visits) const {
  auto indices = indices_of(visits);
  const auto text_BT = text_.batch(indices);
  const auto column = [&](std::int64_t id) {
    return at::full({text_BT.size(0), 1}, id, at::kLong);
  };
  const auto ids_BT = at::cat({column(cls_id_), text_BT, column(sep_id_)}, 1);
  const auto targets_BT = at::empty_like(ids_BT);
  const auto length = static_cast<std::size_t>(ids_BT.size(1));
  std::int64_t num_targets = 0;
  for (std::size_t b = 0; b < visits.size(); ++b) {
    const auto row = [&](const torch::Tensor& rows) {
      return std::span(rows.mutable_data_ptr<std::int64_t>() + b * length, length);
    };
    const auto key = key_.derive(static_cast<std::uint64_t>(visits[b].epoch))
                         .derive(static_cast<std::uint64_t>(visits[b].example));
    num_targets += mask_tokens_(row(ids_BT), row(targets_BT), rule_, key);
  }
  return {.input = ModelInput(ids_BT),
          .targets = targets_BT,
          .weight = static_cast<double>(num_targets),
          .num_tokens = ids_BT.numel(),
          .indices = std::move(indices)};
}

}  // namespace lowbank
