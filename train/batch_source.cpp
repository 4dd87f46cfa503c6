#include "train/batch_source.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <c10/util/Exception.h>

namespace lowbank {
namespace {

std::vector<Visit> visits_of(std::span<const std::int64_t> examples, std::int64_t epoch) {
  std::vector<Visit> visits;
  for (const auto example : examples) visits.push_back({.example = example, .epoch = epoch});
  return visits;
}

}  // namespace

ShuffledSource::ShuffledSource(std::shared_ptr<const Examples> examples, const BatchShape& shape,
                               const RandomKey& key)
    : examples_(std::move(examples)), shape_(shape), sampler_(examples_->size(), key) {}

Batch ShuffledSource::at(std::int64_t step, std::int64_t micro) {
  const std::int64_t begin = step * shape_.step_size() + micro * shape_.micro_batch_size;
  std::vector<Visit> visits;
  for (std::int64_t i = begin; i < begin + shape_.micro_batch_size; ++i) {
    visits.push_back({.example = sampler_.at(i), .epoch = i / examples_->size()});
  }
  return examples_->batch(visits);
}

LengthGroupedSource::LengthGroupedSource(std::shared_ptr<const Examples> examples,
                                         std::vector<std::int64_t> lengths, const BatchShape& shape,
                                         const RandomKey& key)
    : examples_(std::move(examples)),
      lengths_(std::move(lengths)),
      shape_(shape),
      key_(key),
      steps_per_epoch_((examples_->size() + shape.step_size() - 1) / shape.step_size()) {
  TORCH_CHECK(static_cast<std::int64_t>(lengths_.size()) == examples_->size(),
              "LengthGroupedSource: ", lengths_.size(), " lengths of ", examples_->size(),
              " examples");
}

Batch LengthGroupedSource::at(std::int64_t step, std::int64_t micro) {
  const std::int64_t epoch = step / steps_per_epoch_;
  if (epoch != epoch_) {
    groups_ = length_grouped_batches(lengths_, shape_.step_size(),
                                     key_.derive(static_cast<std::uint64_t>(epoch)));
    epoch_ = epoch;
  }
  const std::span group(groups_[static_cast<std::size_t>(step % steps_per_epoch_)]);
  const auto size = static_cast<std::size_t>(shape_.micro_batch_size);
  const auto begin = std::min(static_cast<std::size_t>(micro) * size, group.size());
  if (begin == group.size()) return {.input = ModelInput(torch::Tensor()), .targets = {}};
  const auto part = group.subspan(begin, std::min(size, group.size() - begin));
  return examples_->batch(visits_of(part, epoch));
}

HeldOut::HeldOut(std::shared_ptr<const Examples> examples, std::vector<BatchIndices> batches)
    : examples_(std::move(examples)), batches_(std::move(batches)) {}

Batch HeldOut::at(std::int64_t index) const {
  return examples_->batch(visits_of(batches_[static_cast<std::size_t>(index)], /*epoch=*/0));
}

std::vector<BatchIndices> batches_in_order(std::int64_t count, std::int64_t batch_size) {
  std::vector<BatchIndices> batches;
  for (std::int64_t begin = 0; begin < count; begin += batch_size) {
    batches.emplace_back(static_cast<std::size_t>(std::min(batch_size, count - begin)));
    std::iota(batches.back().begin(), batches.back().end(), begin);
  }
  return batches;
}

}  // namespace lowbank
