#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

#include "io/families/mamba.h"
#include "models/language_model.h"
#include "models/layers.h"
#include "models/weights.h"
#include "nn/linear.h"

namespace lowbank {

class MambaLayer;

/// Mamba: pre-norm selective state space layers, no attention, no limit to the context.
///
/// Source:  Gu and Dao 2023, arXiv 2312.00752; parameter names, casts and padding as in
///          transformers 4.57 (modeling_mamba.py).
/// Differs: computed channel-last by a fused convolution and scan (kernels/selective_scan.h).
class MambaModel : public LanguageModel {
 public:
  MambaModel(const MambaConfig& config, const nlohmann::ordered_json& json, Weights& weights);

  bool is_causal() const override { return true; }
  torch::Tensor embed(const ModelInput& input, BlockPass& pass) override;
  std::int64_t num_blocks() const override { return config_.num_layers; }
  torch::Tensor block(std::int64_t i, const torch::Tensor& x_BTH, const BlockPass& pass,
                      DecodeState* state) override;
  torch::Tensor finish(const torch::Tensor& x_BTH) override;
  torch::Tensor head(const torch::Tensor& hidden_BTD, const Pass& pass = {}) override {
    return head_.forward(hidden_BTD, pass);
  }
  torch::Tensor head_weight() const override { return head_.weight(); }
  std::vector<Axis> axes() const override;
  std::vector<pim::Operator> operators(pim::Phase phase, std::int64_t batch,
                                       std::int64_t context) override;
  std::int64_t vocab_size() const override { return config_.vocab_size; }
  std::int64_t max_context() const override { return 0; }
  const nlohmann::ordered_json& config() const override { return *json_; }

 protected:
  BlockState make_block_state(const StateOptions& options) override;

 private:
  MambaConfig config_;
  std::shared_ptr<const nlohmann::ordered_json> json_;
  std::shared_ptr<Embedding> embeddings_;
  std::vector<std::shared_ptr<MambaLayer>> layers_;
  std::shared_ptr<RmsNorm> norm_f_;
  TokenHead head_;
};

}  // namespace lowbank
