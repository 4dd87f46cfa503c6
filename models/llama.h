#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

#include "io/families/llama.h"
#include "models/language_model.h"
#include "models/layers.h"
#include "models/weights.h"
#include "nn/linear.h"

namespace lowbank {

class LlamaLayer;

/// Llama: pre-norm decoder with rotary grouped-query attention and a gated MLP.
///
/// Source:  Touvron et al. 2023; parameter names, casts and layouts as in transformers 4.57
///          (modeling_llama.py).
/// Differs: none (checked against transformers' logits: tests/parity).
class LlamaModel : public LanguageModel {
 public:
  LlamaModel(const LlamaConfig& config, const nlohmann::ordered_json& json, Weights& weights);

  bool is_causal() const override { return true; }
  torch::Tensor embed(const ModelInput& input, BlockPass& pass) override;
  std::int64_t num_blocks() const override { return config_.num_layers; }
  torch::Tensor block(std::int64_t i, const torch::Tensor& x_BTD, const BlockPass& pass,
                      DecodeState* state) override;
  torch::Tensor finish(const torch::Tensor& x_BTD) override { return norm_->forward(x_BTD); }
  torch::Tensor head(const torch::Tensor& hidden_BTD, const Pass& pass = {}) override {
    return head_.forward(hidden_BTD, pass);
  }
  torch::Tensor head_weight() const override { return head_.weight(); }
  std::vector<Axis> axes() const override;
  std::vector<pim::Operator> operators(pim::Phase phase, std::int64_t batch,
                                       std::int64_t context) override;
  std::int64_t vocab_size() const override { return config_.vocab_size; }
  /// max_position_embeddings, stretched by a dynamic rotary embedding's factor.
  std::int64_t max_context() const override;
  const nlohmann::ordered_json& config() const override { return *json_; }

 protected:
  BlockState make_block_state(const StateOptions& options) override;

 private:
  LlamaConfig config_;
  std::shared_ptr<const nlohmann::ordered_json> json_;
  std::shared_ptr<Embedding> embed_tokens_;
  std::vector<std::shared_ptr<LlamaLayer>> layers_;
  std::shared_ptr<RmsNorm> norm_;
  TokenHead head_;
  RotaryEmbedding rotary_;
};

}  // namespace lowbank
