#pragma once

#include <cstdint>
#include <string>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "io/config_reader.h"
#include "models/weights.h"

namespace lowbank {

/// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 and cast back before
/// the weight.
///
/// Source:  Zhang and Sennrich 2019; order of the casts as in transformers' LlamaRMSNorm.
class RmsNorm : public torch::nn::Module {
 public:
  RmsNorm(Weights& weights, const std::string& path, std::int64_t features, double eps);
  torch::Tensor forward(const torch::Tensor& x_D) const;
  torch::Tensor weight;

 private:
  double eps_;
};

/// Token ids to rows of a table.
class Embedding : public torch::nn::Module {
 public:
  Embedding(Weights& weights, const std::string& path, std::int64_t rows, std::int64_t features);
  torch::Tensor forward(const torch::Tensor& ids_BT) const;
  torch::Tensor weight;
};

/// How positions turn query and key vectors.
struct RotaryOptions {
  double theta = 10000.0;
  bool is_llama3 = false;  ///< wavelengths stretched as below, else left alone
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_positions = 8192;
};

/// Reads rope_theta and rope_scaling (transformers 4) or rope_parameters (5).
/// Errors: ConfigError for a kind other than default and llama3, naming the key.
RotaryOptions read_rotary_options(const ConfigReader& config);

/// Rotary position embedding in the layout where the first half of a head turns with the second.
///
/// Source:  Su et al. 2021 (RoFormer); the half-split layout and the llama3 wavelengths as in
///          transformers (modeling_llama.py, modeling_rope_utils.py).
/// Differs: the sine carries rotate_half's sign, so the turn is one roll and one multiply-add.
class RotaryEmbedding {
 public:
  struct Tables {
    torch::Tensor cos_T1E, sin_T1E;
  };
  RotaryEmbedding(const RotaryOptions& options, std::int64_t head_dim);
  /// Factors of positions begin .. begin + length - 1.
  Tables tables(std::int64_t begin, std::int64_t length, const torch::TensorOptions& options);

 private:
  torch::Tensor inverse_frequency_;  // [E / 2], float32 on the CPU
  Tables cache_;                     // of positions 0 .. size - 1
};

/// x [B, T, heads, E] turned by its position.
torch::Tensor apply_rotary(const torch::Tensor& x_BTHE, const RotaryEmbedding::Tables& tables);

/// Causal attention of the last T of P + T positions; heads / kv_heads query heads share a key
/// head.
///
/// Shapes:  q [B, H, T, E], k and v [B, K, P + T, E] -> [B, H, T, E].
torch::Tensor causal_attention(const torch::Tensor& q_BHTE, const torch::Tensor& k_BKSE,
                               const torch::Tensor& v_BKSE);

}  // namespace lowbank
