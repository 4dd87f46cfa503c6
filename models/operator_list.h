#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/linear.h"
#include "pim/workload.h"

namespace lowbank {

/// Collects the operators of one phase of a model, with the bytes each one moves.
///
/// Units:   bytes at the stored width of a parameter, which activations and the KV cache share.
class OperatorList {
 public:
  /// `num_tokens` go through every row-wise operator; `element_bytes` is one stored value.
  OperatorList(std::int64_t num_tokens, double element_bytes)
      : num_tokens_(num_tokens), element_bytes_(element_bytes) {}

  /// The operators that follow belong to this decoder block; -1 to none.
  void begin_layer(std::int64_t layer) { layer_ = layer; }
  void add_embedding(const std::string& name, std::int64_t features);
  void add_norm(const std::string& name, std::int64_t features);
  /// Elementwise: reads `num_inputs` rows of `features` a token, writes one.
  void add_activation(const std::string& name, std::int64_t features, std::int64_t num_inputs);
  /// The layers in a slot as they are now: one operator a product.
  void add_linear(const LinearSlot& slot, std::string_view group = "");
  /// A product with a dense matrix that is no layer of its own (a tied head).
  void add_product(const std::string& name, std::int64_t in_features, std::int64_t out_features);
  /// Scores, softmax, weighted sum: `runs` (sequences x query heads) times. `queries_per_cache`
  /// query heads share the keys and values they read. The causal half is not left out.
  void add_attention(const std::string& path, std::int64_t num_queries, std::int64_t num_keys,
                     std::int64_t head_dim, std::int64_t runs, std::int64_t queries_per_cache);

  /// Depthwise causal convolution of `width` taps; the last width - 1 inputs of each of `batch`
  /// sequences are its state, read and written.
  void add_conv(const std::string& name, std::int64_t batch, std::int64_t channels,
                std::int64_t width, bool has_bias);
  /// Selective scan with its decay and skip parameters; the state, float32, is read and written
  /// once a sequence.
  void add_scan(const std::string& name, std::int64_t batch, std::int64_t channels,
                std::int64_t num_states);

  /// An operator that none of the functions above describes; its count is 1. The caller fills in the
  /// bytes. The reference holds until the next operator is added.
  pim::Operator& add(pim::OperatorKind kind, const std::string& name, std::int64_t m,
                     std::int64_t n, std::int64_t k);

  std::vector<pim::Operator> take() { return std::move(operators_); }

 private:
  std::int64_t num_tokens_;
  double element_bytes_;
  std::int64_t layer_ = -1;
  std::vector<pim::Operator> operators_;
};

}  // namespace lowbank
