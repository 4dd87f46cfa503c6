#include "models/bert.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tanh.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/dropout.h"
#include "kernels/linear.h"
#include "models/operator_list.h"

namespace lowbank {
namespace {

std::string encoder_layer_path(const std::string& prefix, std::int64_t layer) {
  return fmt::format("{}encoder.layer.{}", prefix, layer);
}

// A module without a forward of its own, so that parameter names are Hugging Face's.
std::shared_ptr<torch::nn::Module> add_folder(torch::nn::Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<torch::nn::Module>());
}

}  // namespace

namespace {

// The dropout of one forward pass; `key` is not set outside training.
torch::Tensor drop(const torch::Tensor& x, double probability, const std::optional<RandomKey>& key,
                   const char* place) {
  return key.has_value() ? dropout(x, probability, key->derive(place)) : x;
}

// Attention whose probabilities are dropped out, which no fused kernel of the CPU does.
// Shapes: [B, H, T, E] each -> the same.
torch::Tensor attention_with_dropout(const torch::Tensor& q, const torch::Tensor& k,
                                     const torch::Tensor& v, const torch::Tensor& visible,
                                     double probability, const RandomKey& key) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  auto scores_BHTT = at::matmul(q * scale, k.transpose(-2, -1));
  if (visible.defined()) {
    scores_BHTT.masked_fill_(visible.logical_not(), -std::numeric_limits<double>::infinity());
  }
  return at::matmul(dropout(scores_BHTT.softmax(-1), probability, key), v);
}

}  // namespace

/// Self-attention and MLP, each with its residual and a norm behind it.
class BertLayer : public torch::nn::Module {
 public:
  BertLayer(const BertConfig& config, const std::string& path, Weights& weights)
      : num_heads_(config.num_heads),
        hidden_dropout_(config.hidden_dropout),
        attention_dropout_(config.attention_dropout),
        activation_(activation(config.hidden_act)) {
    const auto slot = [&](torch::nn::Module& parent, const char* name, LinearRole role) {
      return weights.slot(parent, path + name, role);
    };
    const auto norm = [&](torch::nn::Module& parent, const std::string& full) {
      return parent.register_module(
          "LayerNorm", std::make_shared<LayerNorm>(weights, path + full, config.layer_norm_eps));
    };
    const auto attention = add_folder(*this, "attention");
    const auto self = add_folder(*attention, "self");
    query = slot(*self, ".attention.self.query", LinearRole::kAttention);
    key = slot(*self, ".attention.self.key", LinearRole::kAttention);
    value = slot(*self, ".attention.self.value", LinearRole::kAttention);
    const auto attention_output = add_folder(*attention, "output");
    attention_dense = slot(*attention_output, ".attention.output.dense", LinearRole::kAttention);
    attention_norm_ = norm(*attention_output, ".attention.output.LayerNorm");
    const auto intermediate = add_folder(*this, "intermediate");
    mlp_in = slot(*intermediate, ".intermediate.dense", LinearRole::kMlp);
    const auto output = add_folder(*this, "output");
    mlp_out = slot(*output, ".output.dense", LinearRole::kMlp);
    output_norm_ = norm(*output, ".output.LayerNorm");
  }

  /// `pass.mask` bool, broadcast to [B, heads, T, T]; undefined: everybody sees everybody.
  torch::Tensor forward(const torch::Tensor& x_BTD, const BlockPass& pass) const {
    const auto& visible = pass.mask;
    const std::int64_t batch = x_BTD.size(0), num_tokens = x_BTD.size(1);
    const auto heads = [&](const torch::Tensor& y) {
      return y.view({batch, num_tokens, num_heads_, -1}).transpose(1, 2);
    };
    const auto qkv = forward_group(x_BTD, pass, {&query, &key, &value});
    const auto q = heads(qkv[0]), k = heads(qkv[1]), v = heads(qkv[2]);
    const auto mixed_BHTE =
        pass.key.has_value() && attention_dropout_ > 0
            ? attention_with_dropout(q, k, v, visible, attention_dropout_,
                                     pass.key->derive("attention"))
            : at::scaled_dot_product_attention(
                  q, k, v,
                  visible.defined() ? std::optional<torch::Tensor>(visible) : std::nullopt);
    const auto mixed_BTD = mixed_BHTE.transpose(1, 2).reshape({batch, num_tokens, -1});
    const auto h_BTD = attention_norm_->forward(
        drop(attention_dense(mixed_BTD, pass), hidden_dropout_, pass.key, "attention.output") +
        x_BTD);
    return output_norm_->forward(
        drop(mlp_out(activation_(mlp_in(h_BTD, pass)), pass), hidden_dropout_, pass.key, "output") +
        h_BTD);
  }

  LinearSlot query, key, value, attention_dense, mlp_in, mlp_out;

 private:
  std::int64_t num_heads_;
  double hidden_dropout_, attention_dropout_;
  Activation activation_;
  std::shared_ptr<LayerNorm> attention_norm_, output_norm_;
};

/// cls.predictions: dense, activation and norm, then a product with the word embeddings.
class BertTokenHead : public torch::nn::Module {
 public:
  BertTokenHead(const BertConfig& config, Weights& weights)
      : activation_(activation(config.hidden_act)) {
    const auto folder = add_folder(*this, "transform");
    transform = weights.slot(*folder, "cls.predictions.transform.dense", LinearRole::kHead);
    norm_ = folder->register_module(
        "LayerNorm", std::make_shared<LayerNorm>(weights, "cls.predictions.transform.LayerNorm",
                                                 config.layer_norm_eps));
    bias = register_parameter("bias", weights.take("cls.predictions.bias"));
    weights.tie("cls.predictions.decoder.bias");
    if (config.tie_word_embeddings) {
      weights.tie("cls.predictions.decoder.weight");
    } else {
      const auto decoder = add_folder(*this, "decoder");
      decoder_weight =
          decoder->register_parameter("weight", weights.take("cls.predictions.decoder.weight"));
    }
  }

  torch::Tensor forward(const torch::Tensor& hidden_BTD, const torch::Tensor& word_table,
                        const Pass& pass) const {
    return apply_linear(norm_->forward(activation_(transform(hidden_BTD, pass))),
                        decoder_weight.defined() ? decoder_weight : word_table, bias);
  }

  LinearSlot transform;
  torch::Tensor decoder_weight;  ///< undefined where tied to the word embeddings
  torch::Tensor bias;

 private:
  Activation activation_;
  std::shared_ptr<LayerNorm> norm_;
};

BertModel::BertModel(const BertConfig& config, const nlohmann::ordered_json& json, Weights& weights)
    : config_(config),
      prefix_(weights.wants("bert.embeddings.word_embeddings.weight") ? "bert." : ""),
      json_(std::make_shared<nlohmann::ordered_json>(json)) {
  torch::nn::Module* encoder_parent = this;
  if (!prefix_.empty()) encoder_parent = add_folder(*this, "bert").get();

  const auto embeddings = add_folder(*encoder_parent, "embeddings");
  const auto table = [&](const char* name) {
    return embeddings->register_module(
        name, std::make_shared<Embedding>(weights, prefix_ + "embeddings." + name));
  };
  word_embeddings_ = table("word_embeddings");
  position_embeddings_ = table("position_embeddings");
  token_type_embeddings_ = table("token_type_embeddings");
  embedding_norm_ = embeddings->register_module(
      "LayerNorm", std::make_shared<LayerNorm>(weights, prefix_ + "embeddings.LayerNorm",
                                               config.layer_norm_eps));

  const auto encoder = add_folder(*encoder_parent, "encoder");
  const auto layers = add_folder(*encoder, "layer");
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(layers->register_module(
        std::to_string(i),
        std::make_shared<BertLayer>(config, encoder_layer_path(prefix_, i), weights)));
  }

  const std::string pooler = prefix_ + "pooler.dense";
  const bool uses_pooler =
      config.head == BertHead::kPreTraining || config.head == BertHead::kSequenceClassifier;
  has_pooler_ = uses_pooler || weights.has(pooler + ".weight");
  if (has_pooler_) {
    const auto folder = add_folder(*encoder_parent, "pooler");
    pooler_ = weights.slot(*folder, pooler, LinearRole::kPooler);
  }
  if (config.head == BertHead::kMaskedToken || config.head == BertHead::kPreTraining) {
    const auto cls = add_folder(*this, "cls");
    token_head_ =
        cls->register_module("predictions", std::make_shared<BertTokenHead>(config, weights));
    has_next_sentence_ =
        config.head == BertHead::kPreTraining || weights.has("cls.seq_relationship.weight");
    if (has_next_sentence_) {
      next_sentence_ = weights.slot(*cls, "cls.seq_relationship", LinearRole::kClassifier);
    }
  }
  if (config.head == BertHead::kSequenceClassifier) {
    classifier_ = weights.slot(*this, "classifier", LinearRole::kClassifier);
  }
}

HeadKind BertModel::head_kind() const {
  switch (config_.head) {
    case BertHead::kNone:
      return HeadKind::kNone;
    case BertHead::kMaskedToken:
    case BertHead::kPreTraining:
      return HeadKind::kMaskedToken;
    case BertHead::kSequenceClassifier:
      return HeadKind::kSequence;
  }
  return HeadKind::kNone;
}

torch::Tensor BertModel::embed(const ModelInput& input, BlockPass& pass) {
  const auto& ids_BT = input.ids_BT;
  const std::int64_t num_tokens = ids_BT.size(1);
  TORCH_CHECK(num_tokens <= config_.max_positions, "BertModel: ", num_tokens,
              " tokens, the longest context is ", config_.max_positions);
  const auto types_D = input.token_types_BT.defined()
                           ? token_type_embeddings_->forward(input.token_types_BT)
                           : token_type_embeddings_->weight[0];
  auto x_BTD = word_embeddings_->forward(ids_BT) + types_D;
  x_BTD = embedding_norm_->forward(x_BTD + position_embeddings_->weight.narrow(0, 0, num_tokens));
  if (input.mask_BT.defined()) {
    pass.mask = input.mask_BT.view({ids_BT.size(0), 1, 1, num_tokens});
  }
  return drop(x_BTD, config_.hidden_dropout, pass.key, "embeddings");
}

torch::Tensor BertModel::block(std::int64_t i, const torch::Tensor& x_BTD, const BlockPass& pass,
                               DecodeState* /*state*/) {
  const auto& layer = *layers_[static_cast<std::size_t>(i)];
  if (!pass.key.has_value()) return layer.forward(x_BTD, pass);
  BlockPass own = pass;
  own.key = pass.key->derive("layer").derive(static_cast<std::uint64_t>(i));
  return layer.forward(x_BTD, own);
}

torch::Tensor BertModel::pool(const torch::Tensor& hidden_BTD, const Pass& pass) const {
  TORCH_CHECK(has_pooler_, "BertModel: this checkpoint has no pooler");
  return at::tanh(pooler_(hidden_BTD.select(1, 0), pass));
}

torch::Tensor BertModel::head(const torch::Tensor& hidden_BTD, const Pass& pass) {
  switch (head_kind()) {
    case HeadKind::kMaskedToken:
      return token_head_->forward(hidden_BTD, word_embeddings_->weight, pass);
    case HeadKind::kSequence:
      return classifier_(
          drop(pool(hidden_BTD, pass), config_.classifier_dropout, pass.key, "classifier"), pass);
    case HeadKind::kNone:
    case HeadKind::kNextToken:
      break;
  }
  return hidden_BTD;
}

std::vector<Axis> BertModel::axes() const {
  std::vector<Axis> axes(1);
  Axis& hidden = axes.front();
  hidden = {.name = "hidden", .size = config_.hidden_size};
  const auto add_norm = [&](const std::string& path) {
    hidden.add(path + ".weight", 0).add(path + ".bias", 0);
  };
  const std::string embeddings = prefix_ + "embeddings.";
  for (const auto* table : {"word_embeddings", "position_embeddings", "token_type_embeddings"}) {
    hidden.add(embeddings + table + ".weight", 1);
  }
  add_norm(embeddings + "LayerNorm");
  const std::int64_t head_dim = config_.hidden_size / config_.num_heads;
  std::vector<Axis> inner;
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    const auto& layer = *layers_[static_cast<std::size_t>(i)];
    const std::string path = encoder_layer_path(prefix_, i);
    inner.push_back({.name = path + ".heads", .size = config_.num_heads});
    for (const auto* slot : {&layer.query, &layer.key, &layer.value}) {
      hidden.add(*slot, Side::kIn);
      inner.back().add(*slot, Side::kOut, 0, head_dim);
    }
    inner.back().add(layer.attention_dense, Side::kIn, 0, head_dim);
    hidden.add(layer.attention_dense, Side::kOut);
    add_norm(path + ".attention.output.LayerNorm");
    inner.push_back({.name = path + ".mlp", .size = config_.intermediate_size});
    inner.back().add(layer.mlp_in, Side::kOut).add(layer.mlp_out, Side::kIn);
    hidden.add(layer.mlp_in, Side::kIn).add(layer.mlp_out, Side::kOut);
    add_norm(path + ".output.LayerNorm");
  }
  if (has_pooler_) {
    hidden.add(pooler_, Side::kIn);
    inner.push_back({.name = prefix_ + "pooler", .size = config_.hidden_size});
    inner.back().add(pooler_, Side::kOut);
    if (!next_sentence_.is_empty()) inner.back().add(next_sentence_, Side::kIn);
    if (!classifier_.is_empty()) inner.back().add(classifier_, Side::kIn);
  }
  if (token_head_ != nullptr) {
    // Its output meets the word embeddings, so that both of its sides are the hidden axis.
    hidden.add(token_head_->transform, Side::kIn).add(token_head_->transform, Side::kOut);
    add_norm("cls.predictions.transform.LayerNorm");
    if (token_head_->decoder_weight.defined()) hidden.add("cls.predictions.decoder.weight", 1);
  }
  axes.insert(axes.end(), inner.begin(), inner.end());
  return axes;
}

std::vector<pim::Operator> BertModel::operators(pim::Phase phase, std::int64_t batch,
                                                std::int64_t context) {
  if (phase == pim::Phase::kDecode) return {};
  const auto& word_table = word_embeddings_->weight;
  const auto element_bytes = static_cast<double>(word_table.element_size());
  const std::int64_t hidden = config_.hidden_size;
  OperatorList list(batch * context, element_bytes);
  list.add_embedding(prefix_ + "embeddings.word_embeddings", hidden);
  list.add_embedding(prefix_ + "embeddings.position_embeddings", hidden);
  list.add_embedding(prefix_ + "embeddings.token_type_embeddings", hidden);
  list.add_norm(prefix_ + "embeddings.LayerNorm", hidden);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    list.begin_layer(static_cast<std::int64_t>(i));
    const auto& layer = *layers_[i];
    const std::string path = encoder_layer_path(prefix_, static_cast<std::int64_t>(i));
    const std::string attention = path + ".attention";
    list.add_linear(layer.query, "qkv");
    list.add_linear(layer.key, "qkv");
    list.add_linear(layer.value, "qkv");
    list.add_attention(attention + ".self", context, context, hidden / config_.num_heads,
                       batch * config_.num_heads, 1);
    list.add_linear(layer.attention_dense);
    list.add_norm(attention + ".output.LayerNorm", hidden);
    list.add_linear(layer.mlp_in);
    list.add_activation(path + ".intermediate.intermediate_act_fn", config_.intermediate_size, 1);
    list.add_linear(layer.mlp_out);
    list.add_norm(path + ".output.LayerNorm", hidden);
  }
  list.begin_layer(-1);
  if (token_head_ != nullptr) {
    list.add_linear(token_head_->transform);
    list.add_activation("cls.predictions.transform.transform_act_fn", hidden, 1);
    list.add_norm("cls.predictions.transform.LayerNorm", hidden);
    list.add_product("cls.predictions.decoder", hidden, config_.vocab_size);
  } else if (config_.head == BertHead::kSequenceClassifier) {
    OperatorList per_sequence(batch, element_bytes);
    per_sequence.add_linear(pooler_);
    per_sequence.add_activation(prefix_ + "pooler.activation", hidden, 1);
    per_sequence.add_linear(classifier_);
    auto operators = list.take();
    for (auto& op : per_sequence.take()) operators.push_back(std::move(op));
    return operators;
  }
  return list.take();
}

}  // namespace lowbank
