#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

#include "io/families/bert.h"
#include "models/language_model.h"
#include "models/layers.h"
#include "models/weights.h"
#include "nn/linear.h"

namespace lowbank {

class BertLayer;
class BertTokenHead;

/// BERT: post-norm bidirectional encoder with learned positions and token types.
///
/// Source:  Devlin et al. 2019; parameter names and layouts as in transformers 4.57
///          (modeling_bert.py).
/// Differs: names begin with "bert." only where the file's do (files of BertModel have none); a
///          pooler or next-sentence head that the output does not need is kept where the file has
///          one.
class BertModel : public LanguageModel {
 public:
  BertModel(const BertConfig& config, const nlohmann::ordered_json& json, Weights& weights);

  bool is_causal() const override { return false; }
  torch::Tensor embed(const ModelInput& input, BlockPass& pass) override;
  std::int64_t num_blocks() const override { return config_.num_layers; }
  torch::Tensor block(std::int64_t i, const torch::Tensor& x_BTD, const BlockPass& pass,
                      DecodeState* state) override;
  torch::Tensor head(const torch::Tensor& hidden_BTD, const Pass& pass = {}) override;
  HeadKind head_kind() const override;
  torch::Tensor head_weight() const override { return {}; }
  /// tanh(dense(first token)), [B, D]. Errors: c10::Error for a model without a pooler.
  torch::Tensor pool(const torch::Tensor& hidden_BTD, const Pass& pass = {}) const;
  bool has_pooler() const { return has_pooler_; }
  std::vector<Axis> axes() const override;
  std::vector<pim::Operator> operators(pim::Phase phase, std::int64_t batch,
                                       std::int64_t context) override;
  std::int64_t vocab_size() const override { return config_.vocab_size; }
  std::int64_t num_token_types() const override { return config_.num_token_types; }
  std::int64_t max_context() const override { return config_.max_positions; }
  const nlohmann::ordered_json& config() const override { return *json_; }

 private:
  BertConfig config_;
  std::string prefix_;  // "bert." or ""
  std::shared_ptr<const nlohmann::ordered_json> json_;
  std::shared_ptr<Embedding> word_embeddings_, position_embeddings_, token_type_embeddings_;
  std::shared_ptr<LayerNorm> embedding_norm_;
  std::vector<std::shared_ptr<BertLayer>> layers_;
  bool has_pooler_ = false;
  LinearSlot pooler_;
  std::shared_ptr<BertTokenHead> token_head_;
  bool has_next_sentence_ = false;
  LinearSlot next_sentence_;
  LinearSlot classifier_;
};

}  // namespace lowbank
