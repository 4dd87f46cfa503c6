#include "data/text_dataset.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {

TextDataset::TextDataset(const std::string& path, const tokenizers::Tokenizer& tokenizer,
                         std::int64_t context, std::int64_t max_examples)
    : context_(context) {
  const auto most = static_cast<std::size_t>(max_examples * context);
  const auto ids = std::make_shared<tokenizers::IdList>();
  tokenizers::TokenWriter writer(*ids, /*with_ends=*/false);
  TextReader reader(path);
  tokenizers::encode_stream(
      tokenizer, [&] { return reader.next(); }, /*add_special=*/false, writer,
      [&] { return most > 0 && ids->size() >= most; });
  if (most > 0) ids->truncate(most);
  ids_ = ids;
  num_examples_ = num_tokens() / context;
  if (num_examples_ == 0) {
    throw ConfigError(
        fmt::format("{}: has {} tokens, less than one example; context must be <= {}, "
                    "got {}",
                    path, num_tokens(), num_tokens(), context));
  }
}

torch::Tensor TextDataset::batch(std::span<const std::int64_t> indices) const {
  auto ids_BT = at::empty({static_cast<std::int64_t>(indices.size()), context_}, at::kLong);
  auto* row = ids_BT.mutable_data_ptr<std::int64_t>();
  const auto length = static_cast<std::size_t>(context_);
  for (const auto index : indices) {
    TORCH_CHECK(index >= 0 && index < num_examples_, "example ", index, " of ", num_examples_);
    ids_->copy(static_cast<std::size_t>(index) * length, {row, length});
    row += context_;
  }
  return ids_BT;
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
