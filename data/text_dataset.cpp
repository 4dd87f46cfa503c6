#include "data/text_dataset.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "data/token_tensor.h"

namespace lowbank {

TextDataset::TextDataset(const std::string& path, const tokenizers::Tokenizer& tokenizer,
                         std::int64_t context, std::int64_t max_examples)
    : context_(context) {
  const auto most = static_cast<std::size_t>(max_examples * context);
  tokenizers::IdList ids;
  tokenizers::TokenWriter writer(ids, /*with_ends=*/false);
  TextReader reader(path);
  tokenizers::encode_stream(
      tokenizer, [&] { return reader.next(); }, /*add_special=*/false, writer,
      [&] { return most > 0 && ids.size() >= most; });
  if (most > 0) ids.truncate(most);
  tokens_ = take_token_tensor(ids);
  num_examples_ = tokens_.numel() / context;
  if (num_examples_ == 0) {
    throw ConfigError(
        fmt::format("{}: has {} tokens, less than one example; context must be <= {}, "
                    "got {}",
                    path, tokens_.numel(), tokens_.numel(), context));
  }
}

torch::Tensor TextDataset::batch(std::span<const std::int64_t> indices) const {
  const auto index_B = at::tensor(at::IntArrayRef(indices.data(), indices.size()), at::kLong);
  return tokens_.narrow(0, 0, num_examples_ * context_)
      .view({num_examples_, context_})
      .index_select(0, index_B)
      .to(at::kLong);
}

EpochSampler::EpochSampler(std::int64_t num_examples, const RandomKey& key)
    : num_examples_(num_examples), key_(key), order_(static_cast<std::size_t>(num_examples)) {}

std::int64_t EpochSampler::at(std::int64_t position) {
  const std::int64_t epoch = position / num_examples_;
  if (epoch != epoch_) {
    fill_permutation(order_, key_.derive(static_cast<std::uint64_t>(epoch)));
    epoch_ = epoch;
  }
  return order_[static_cast<std::size_t>(position % num_examples_)];
}

}  // namespace lowbank
