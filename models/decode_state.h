#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <torch/types.h>

namespace lowbank {

/// What a state is made for.
struct StateOptions {
  std::int64_t batch = 1;
  std::int64_t max_length = 0;           ///< tokens it has room for, where its size depends on them
  std::string kv_format = "model";       ///< of keys and values: in the model's type
  std::string state_format = "float32";  ///< of recurrences
};

/// Told the name of a tensor that a cache keeps ("keys") and the tensor; may write into it.
using CacheVisitor = std::function<void(std::string_view name, torch::Tensor& values)>;

/// What one layer keeps of the tokens seen so far. The first dimension of every tensor is the
/// batch.
class Cache {
 public:
  virtual ~Cache() = default;
  virtual void for_each(const CacheVisitor& visit) = 0;
  virtual std::unique_ptr<Cache> clone() const = 0;
};

/// Keys and values of all tokens, for attention.
class AttentionCache : public Cache {
 public:
  struct KeysValues {
    torch::Tensor keys_BKSE, values_BKSE;
  };
  /// Keeps the tokens that follow `num_past` others; returns those of all tokens.
  /// Shapes: k and v [B, K, T, E] -> [B, K, num_past + T, E].
  virtual KeysValues append(const torch::Tensor& k_BKTE, const torch::Tensor& v_BKTE,
                            std::int64_t num_past) = 0;
};

/// Shape and type of what an attention layer caches.
struct AttentionCacheShape {
  std::int64_t batch = 1, num_kv_heads = 1, max_length = 1, head_dim = 1;
  torch::TensorOptions options;
};

/// A cache of the format that the options name. Errors: ConfigError for an unknown format.
std::unique_ptr<AttentionCache> make_attention_cache(const AttentionCacheShape& shape,
                                                     const std::string& format);

/// The last inputs of a causal convolution.
class ConvCache : public Cache {
 public:
  explicit ConvCache(torch::Tensor window) : window_BWD(std::move(window)) {}
  void for_each(const CacheVisitor& visit) override { visit("window", window_BWD); }
  std::unique_ptr<Cache> clone() const override {
    return std::make_unique<ConvCache>(window_BWD.clone());
  }
  torch::Tensor window_BWD;  ///< [B, W - 1, D], brought forward in place
};

/// The state of a recurrence.
class RecurrentCache : public Cache {
 public:
  /// The state as float32, to be brought forward in place and stored again.
  virtual torch::Tensor load() = 0;
  virtual void store(const torch::Tensor& state) = 0;
};

/// A cache that holds zeros of this shape in the format of that name. Errors: ConfigError for an
/// unknown format.
std::unique_ptr<RecurrentCache> make_recurrent_cache(c10::IntArrayRef shape, c10::Device device,
                                                     const std::string& format);

/// What one block of a model keeps; a cache that the block has no use for is nullptr.
struct BlockState {
  std::unique_ptr<AttentionCache> attention = nullptr;
  std::unique_ptr<ConvCache> conv = nullptr;
  std::unique_ptr<RecurrentCache> recurrent = nullptr;
};

/// What a model keeps between decode steps: the caches of its blocks, and how far it has come.
class DecodeState {
 public:
  DecodeState(const StateOptions& options, std::vector<BlockState> blocks);

  /// Tokens seen so far, padding included.
  std::int64_t length() const { return length_; }
  std::int64_t batch() const { return batch_; }
  std::size_t num_blocks() const { return blocks_.size(); }
  BlockState& block(std::int64_t i) { return blocks_[static_cast<std::size_t>(i)]; }

  /// Errors: c10::Error unless `num_tokens` more tokens of `batch` sequences fit.
  void check_room(std::int64_t batch, std::int64_t num_tokens) const;
  /// The mask [B, S] of all tokens, now that those of `mask_BT` (undefined: no padding) follow;
  /// undefined as long as there is no padding, and where no cache keeps tokens apart.
  torch::Tensor append_mask(const torch::Tensor& mask_BT, std::int64_t num_tokens);
  /// `num_tokens` tokens went through all blocks.
  void advance(std::int64_t num_tokens) { length_ += num_tokens; }

  /// Every tensor of every cache, block by block.
  void for_each(const CacheVisitor& visit);
  /// Keeps the sequences that `index_B` names, in its order; one may be there several times.
  void select_rows(const torch::Tensor& index_B);
  std::unique_ptr<DecodeState> clone() const;

 private:
  std::vector<BlockState> blocks_;
  bool keeps_tokens_ = false;  // some block has an attention cache
  torch::Tensor mask_BS_;      // false at padding; undefined as long as there is none
  std::int64_t batch_, max_length_, length_ = 0;
};

}  // namespace lowbank
