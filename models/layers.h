#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "io/families/activation.h"
#include "io/families/rotary_options.h"
#include "models/language_model.h"
#include "models/weights.h"
#include "nn/linear.h"

namespace lowbank {

/// The norm of kernels/rms_norm.h with its weight.
class RmsNorm : public torch::nn::Module {
 public:
  RmsNorm(Weights& weights, const std::string& path, double eps);
  torch::Tensor forward(const torch::Tensor& x_D) const;
  torch::Tensor weight;

 private:
  double eps_;
};

/// Token ids to rows of a table.
class Embedding : public torch::nn::Module {
 public:
  Embedding(Weights& weights, const std::string& path);
  torch::Tensor forward(const torch::Tensor& ids_BT) const;
  torch::Tensor weight;
};

/// y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias over the last dimension.
///
/// Source:  Ba, Kiros and Hinton 2016.
class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(Weights& weights, const std::string& path, double eps);
  torch::Tensor forward(const torch::Tensor& x_D) const;
  torch::Tensor weight, bias;

 private:
  double eps_;
};

/// An elementwise function.
using Activation = torch::Tensor (*)(const torch::Tensor& x);
Activation activation(ActivationKind kind);

class OperatorList;

/// The product that makes logits of hidden states: with the token embedding again, or with a
/// projection "lm_head" of its own.
class TokenHead {
 public:
  TokenHead() = default;
  /// Registers the projection, where there is one, with `model`, which must own this head.
  TokenHead(torch::nn::Module& model, Weights& weights, std::shared_ptr<Embedding> embedding,
            bool is_tied);
  /// hidden [..., D] -> logits [..., V].
  torch::Tensor forward(const torch::Tensor& hidden_D, const Pass& pass) const;
  /// The matrix [V, D], undefined where the projection is not one dense matrix alone.
  torch::Tensor weight() const;
  void add_operators(OperatorList& list) const;
  /// Adds the parameters that read the hidden states.
  void add_hidden(Axis& axis) const;

 private:
  std::shared_ptr<Embedding> embedding_;
  bool is_tied_ = true;
  LinearSlot projection_;  // unused where tied
};

/// The tables of a rotary position embedding (kernels/rotary.h) in the layout where the first half
/// of a head turns with the second.
///
/// Source:  Su et al. 2021 (RoFormer); the half-split layout, the scaling kinds and the order of
///          their roundings as in transformers (modeling_llama.py, modeling_rope_utils.py).
/// Differs: the sine carries rotate_half's sign, so a turn is one swap and one multiply-add.
class RotaryEmbedding {
 public:
  RotaryEmbedding(const RotaryOptions& options, std::int64_t head_dim);
  /// Factors of positions begin .. begin + length - 1 in a sequence that ends there.
  RotaryTables tables(std::int64_t begin, std::int64_t length, const torch::TensorOptions& options);
  /// Whether a position's turn depends on how long the sequence is: keys are then to be kept
  /// unturned.
  bool depends_on_length() const { return options_.kind == RotaryKind::kDynamic; }

 private:
  torch::Tensor inverse_frequencies(std::int64_t sequence_length) const;

  RotaryOptions options_;
  std::int64_t head_dim_;
  RotaryTables cache_;                // of positions 0 .. size - 1
  std::int64_t cache_stretched_ = 0;  // sequence length that cache_ was stretched to, 0 = none
};

/// Causal attention of the last T of S = P + T positions; heads / kv_heads query heads share a key
/// head. Where `mask_BS` is false there is padding, which nobody but itself sees.
///
/// Shapes:  q [B, H, T, E], k and v [B, K, S, E], mask bool [B, S] or undefined -> [B, H, T, E].
torch::Tensor causal_attention(const torch::Tensor& q_BHTE, const torch::Tensor& k_BKSE,
                               const torch::Tensor& v_BKSE, const torch::Tensor& mask_BS = {});

}  // namespace lowbank
