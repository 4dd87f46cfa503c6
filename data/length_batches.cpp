#include "data/length_batches.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

namespace lowbank {
namespace {

// A stable sort: sequences of equal length stay in their order.
void sort_longest_first(std::span<std::int64_t> indices, std::span<const std::int64_t> lengths) {
  std::stable_sort(indices.begin(), indices.end(), [&](std::int64_t a, std::int64_t b) {
    return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
  });
}

std::vector<BatchIndices> cut_batches(std::span<const std::int64_t> indices,
                                      std::int64_t batch_size) {
  std::vector<BatchIndices> batches;
  const auto step = static_cast<std::size_t>(batch_size);
  for (std::size_t begin = 0; begin < indices.size(); begin += step) {
    const auto batch = indices.subspan(begin, std::min(step, indices.size() - begin));
    batches.emplace_back(batch.begin(), batch.end());
  }
  return batches;
}

}  // namespace

std::vector<BatchIndices> length_sorted_batches(std::span<const std::int64_t> lengths,
                                                std::int64_t batch_size) {
  TORCH_CHECK(batch_size >= 1, "length_sorted_batches: batch size must be >= 1, got ", batch_size);
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  sort_longest_first(order, lengths);
  return cut_batches(order, batch_size);
}

std::vector<BatchIndices> length_grouped_batches(std::span<const std::int64_t> lengths,
                                                 std::int64_t batch_size, const RandomKey& key) {
  TORCH_CHECK(batch_size >= 1, "length_grouped_batches: batch size must be >= 1, got ", batch_size);
  constexpr std::int64_t kMaxBatchesPerPool = 50;
  const auto count = static_cast<std::int64_t>(lengths.size());
  const std::int64_t batches_per_pool =
      std::clamp(count / batch_size / 4, std::int64_t{1}, kMaxBatchesPerPool);
  std::vector<std::int64_t> order(lengths.size());
  fill_permutation(order, key.derive("examples"));
  const auto pool_size = static_cast<std::size_t>(batches_per_pool * batch_size);
  for (std::size_t begin = 0; begin < order.size(); begin += pool_size) {
    sort_longest_first(std::span(order).subspan(begin, std::min(pool_size, order.size() - begin)),
                       lengths);
  }
  const auto batches = cut_batches(order, batch_size);
  std::vector<std::int64_t> batch_order(batches.size());
  fill_permutation(batch_order, key.derive("batches"));
  std::vector<BatchIndices> out;
  for (const auto b : batch_order) out.push_back(batches[static_cast<std::size_t>(b)]);
  return out;
}

PaddedBatch pad_batch(std::span<const tokenizers::PairEncoding> sequences,
                      const BatchIndices& indices, std::int64_t pad_id, std::int64_t length) {
  TORCH_CHECK(!indices.empty(), "pad_batch: no sequences");
  std::vector<std::int64_t> lengths;
  for (const auto i : indices) {
    const auto& sequence = sequences[static_cast<std::size_t>(i)];
    lengths.push_back(static_cast<std::int64_t>(sequence.ids.size()));
    TORCH_CHECK(lengths.back() >= 1, "pad_batch: sequence ", i, " has no tokens");
  }
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  TORCH_CHECK(length == 0 || *longest <= length, "pad_batch: a sequence has ", *longest,
              " tokens, to be padded to ", length);
  const auto batch = static_cast<std::int64_t>(indices.size());
  const std::int64_t width = length > 0 ? length : *longest;
  PaddedBatch out = {.ids_BT = at::full({batch, width}, pad_id, at::kLong),
                     .type_ids_BT = at::zeros({batch, width}, at::kLong),
                     .mask_BT = {}};
  for (std::size_t b = 0; b < indices.size(); ++b) {
    const auto& sequence = sequences[static_cast<std::size_t>(indices[b])];
    const auto offset = static_cast<std::ptrdiff_t>(b) * width;
    std::copy(sequence.ids.begin(), sequence.ids.end(),
              out.ids_BT.mutable_data_ptr<std::int64_t>() + offset);
    std::copy(sequence.type_ids.begin(), sequence.type_ids.end(),
              out.type_ids_BT.mutable_data_ptr<std::int64_t>() + offset);
  }
  if (*shortest < width) {
    out.mask_BT = at::arange(width).unsqueeze(0) < at::tensor(lengths, at::kLong).unsqueeze(1);
  }
  return out;
}

std::vector<std::int64_t> sequence_lengths(std::span<const tokenizers::PairEncoding> sequences) {
  std::vector<std::int64_t> lengths;
  for (const auto& sequence : sequences) {
    lengths.push_back(static_cast<std::int64_t>(sequence.ids.size()));
  }
  return lengths;
}

}  // namespace lowbank
