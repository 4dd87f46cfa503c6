#include "models/decode_state.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

namespace lowbank {
namespace {

std::vector<Cache*> caches_of(BlockState& block) {
  std::vector<Cache*> caches;
  for (Cache* cache :
       {static_cast<Cache*>(block.attention.get()), static_cast<Cache*>(block.conv.get()),
        static_cast<Cache*>(block.recurrent.get())}) {
    if (cache != nullptr) caches.push_back(cache);
  }
  return caches;
}

template <class T>
std::unique_ptr<T> clone_of(const std::unique_ptr<T>& cache) {
  if (cache == nullptr) return nullptr;
  return std::unique_ptr<T>(static_cast<T*>(cache->clone().release()));
}

}  // namespace

DecodeState::DecodeState(const StateOptions& options, std::vector<BlockState> blocks)
    : blocks_(std::move(blocks)), batch_(options.batch), max_length_(options.max_length) {
  keeps_tokens_ = std::any_of(blocks_.begin(), blocks_.end(),
                              [](const BlockState& block) { return block.attention != nullptr; });
}

void DecodeState::check_room(std::int64_t batch, std::int64_t num_tokens) const {
  TORCH_CHECK(batch == batch_, "DecodeState: is of ", batch_, " sequences, got ", batch);
  TORCH_CHECK(!keeps_tokens_ || length_ + num_tokens <= max_length_, "DecodeState: has room for ",
              max_length_, " tokens, not for ", length_, " + ", num_tokens);
}

torch::Tensor DecodeState::append_mask(const torch::Tensor& mask_BT, std::int64_t num_tokens) {
  if (!keeps_tokens_) return {};
  if (mask_BT.defined()) {
    if (!mask_BS_.defined()) {
      const c10::InferenceMode normal_tensors(false);
      mask_BS_ = at::ones({batch_, max_length_}, mask_BT.options());
    }
    mask_BS_.narrow(1, length_, num_tokens).copy_(mask_BT);
  }
  return mask_BS_.defined() ? mask_BS_.narrow(1, 0, length_ + num_tokens) : torch::Tensor();
}

void DecodeState::for_each(const CacheVisitor& visit) {
  for (auto& block : blocks_) {
    for (Cache* cache : caches_of(block)) cache->for_each(visit);
  }
}

void DecodeState::select_rows(const torch::Tensor& index_B) {
  // As in make_state: usable in and out of inference mode, whatever mode this runs in.
  const c10::InferenceMode normal_tensors(false);
  const c10::NoGradGuard no_grad;
  TORCH_CHECK(index_B.dim() == 1 && index_B.scalar_type() == c10::kLong,
              "DecodeState::select_rows: the index must be [B] int64, got ", index_B.sizes(), " ",
              index_B.dtype());
  const auto select = [&](torch::Tensor& values) {
    values = values.index_select(0, index_B.to(values.device()));
  };
  for_each([&](std::string_view, torch::Tensor& values) { select(values); });
  if (mask_BS_.defined()) select(mask_BS_);
  batch_ = index_B.size(0);
}

std::unique_ptr<DecodeState> DecodeState::clone() const {
  const c10::InferenceMode normal_tensors(false);
  const c10::NoGradGuard no_grad;
  std::vector<BlockState> blocks;
  for (const auto& block : blocks_) {
    blocks.push_back({.attention = clone_of(block.attention),
                      .conv = clone_of(block.conv),
                      .recurrent = clone_of(block.recurrent)});
  }
  auto copy = std::make_unique<DecodeState>(
      StateOptions{.batch = batch_, .max_length = max_length_}, std::move(blocks));
  if (mask_BS_.defined()) copy->mask_BS_ = mask_BS_.clone();
  copy->length_ = length_;
  return copy;
}

}  // namespace lowbank
