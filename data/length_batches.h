#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <torch/types.h>

#include "core/philox.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

/// Indices of sequences that go through a model together.
using BatchIndices = std::vector<std::int64_t>;

/// Batches of sequences of about one length; every sequence is in one batch. Sequences are sorted
/// by length, the longest first (so that the first batch needs the most memory), and cut into
/// batches of `batch_size`; the last batch may be smaller.
/// Errors: c10::Error for a batch size below 1.
std::vector<BatchIndices> length_sorted_batches(std::span<const std::int64_t> lengths,
                                                std::int64_t batch_size);

/// Batches for one epoch of training; every sequence is in one batch. The sequences of a batch have
/// about one length, and yet batches differ from epoch to epoch if `key` is derived by the epoch.
///
/// Source:  transformers' LengthGroupedSampler: shuffled, then sorted by length within pools of 50
///          batches (a quarter of them, where there are fewer than 200).
/// Differs: the batches are shuffled too, not only the one with the longest sequence put first.
/// Errors:  c10::Error for a batch size below 1.
std::vector<BatchIndices> length_grouped_batches(std::span<const std::int64_t> lengths,
                                                 std::int64_t batch_size, const RandomKey& key);

/// The rows of a batch, padded on the right.
struct PaddedBatch {
  torch::Tensor ids_BT;       ///< int64
  torch::Tensor type_ids_BT;  ///< int64
  torch::Tensor mask_BT;      ///< bool, false at padding; undefined where nothing is padded
};

/// The sequences `indices`, padded with `pad_id` to the longest of them, or to `length` if that is
/// not 0. Errors: c10::Error for no indices, an empty sequence, or one longer than `length`.
PaddedBatch pad_batch(std::span<const tokenizers::PairEncoding> sequences,
                      const BatchIndices& indices, std::int64_t pad_id, std::int64_t length = 0);

/// Number of ids of each sequence.
std::vector<std::int64_t> sequence_lengths(std::span<const tokenizers::PairEncoding> sequences);

}  // namespace lowbank
