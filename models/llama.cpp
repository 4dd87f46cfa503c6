#include "models/llama.h"

#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/rotary.h"
#include "kernels/swiglu.h"
#include "models/operator_list.h"

namespace lowbank {

class LlamaAttention : public torch::nn::Module {
 public:
  LlamaAttention(const LlamaConfig& config, const std::string& path, Weights& weights)
      : head_dim_(config.head_dim) {
    const auto slot = [&](const char* name) {
      return weights.slot(*this, path + "." + name, LinearRole::kAttention);
    };
    q_proj = slot("q_proj");
    k_proj = slot("k_proj");
    v_proj = slot("v_proj");
    o_proj = slot("o_proj");
  }

  torch::Tensor forward(const torch::Tensor& x_BTD, const BlockPass& pass,
                        AttentionCache* cache) const {
    const std::int64_t batch = x_BTD.size(0), num_tokens = x_BTD.size(1);
    const auto heads = [&](const torch::Tensor& y) {
      return y.view({batch, num_tokens, -1, head_dim_});
    };
    const auto turn = [](const torch::Tensor& x_BTHE, const RotaryTables& tables) {
      return rotary(x_BTHE, tables.cos_T1E, tables.sin_T1E);
    };
    const auto projected = forward_group(x_BTD, pass, {&q_proj, &k_proj, &v_proj});
    const auto q_BHTE = turn(heads(projected[0]), pass.rotary);
    const bool keeps_unturned = cache != nullptr && pass.rotary_keys.cos_T1E.defined();
    auto k_BKSE = keeps_unturned ? heads(projected[1]).transpose(1, 2)
                                 : turn(heads(projected[1]), pass.rotary);
    auto v_BKSE = heads(projected[2]).transpose(1, 2);
    if (cache != nullptr) {
      auto all = cache->append(k_BKSE, v_BKSE, pass.num_past);
      k_BKSE = std::move(all.keys_BKSE);
      v_BKSE = std::move(all.values_BKSE);
    }
    if (keeps_unturned) {
      k_BKSE = turn(k_BKSE.transpose(1, 2), pass.rotary_keys);
    }
    const auto mixed_BHTE = causal_attention(q_BHTE, k_BKSE, v_BKSE, pass.mask_BS);
    return o_proj(mixed_BHTE.transpose(1, 2).reshape({batch, num_tokens, -1}), pass);
  }

  LinearSlot q_proj, k_proj, v_proj, o_proj;

 private:
  std::int64_t head_dim_;
};

class LlamaMlp : public torch::nn::Module {
 public:
  LlamaMlp(const std::string& path, Weights& weights) {
    const auto slot = [&](const char* name) {
      return weights.slot(*this, path + "." + name, LinearRole::kMlp);
    };
    gate_proj = slot("gate_proj");
    up_proj = slot("up_proj");
    down_proj = slot("down_proj");
  }

  torch::Tensor forward(const torch::Tensor& x_BTD, const Pass& pass) const {
    const auto gate_up = forward_group(x_BTD, pass, {&gate_proj, &up_proj});
    return down_proj(swiglu(gate_up[0], gate_up[1]), pass);
  }

  LinearSlot gate_proj, up_proj, down_proj;
};

namespace {

std::string layer_path(std::int64_t layer) { return fmt::format("model.layers.{}", layer); }

}  // namespace

class LlamaLayer : public torch::nn::Module {
 public:
  LlamaLayer(const LlamaConfig& config, const std::string& path, Weights& weights) {
    const auto norm = [&](const char* name) {
      return register_module(
          name, std::make_shared<RmsNorm>(weights, path + "." + name, config.rms_norm_eps));
    };
    input_layernorm_ = norm("input_layernorm");
    self_attn_ = register_module(
        "self_attn", std::make_shared<LlamaAttention>(config, path + ".self_attn", weights));
    post_attention_layernorm_ = norm("post_attention_layernorm");
    mlp_ = register_module("mlp", std::make_shared<LlamaMlp>(path + ".mlp", weights));
  }

  torch::Tensor forward(const torch::Tensor& x_BTD, const BlockPass& pass,
                        AttentionCache* cache) const {
    const auto h_BTD = x_BTD + self_attn_->forward(input_layernorm_->forward(x_BTD), pass, cache);
    return h_BTD + mlp_->forward(post_attention_layernorm_->forward(h_BTD), pass);
  }

  const LlamaAttention& attention() const { return *self_attn_; }
  const LlamaMlp& mlp() const { return *mlp_; }

 private:
  std::shared_ptr<RmsNorm> input_layernorm_, post_attention_layernorm_;
  std::shared_ptr<LlamaAttention> self_attn_;
  std::shared_ptr<LlamaMlp> mlp_;
};

LlamaModel::LlamaModel(const LlamaConfig& config, const nlohmann::ordered_json& json,
                       Weights& weights)
    : config_(config),
      json_(std::make_shared<nlohmann::ordered_json>(json)),
      rotary_(config.rotary, config.head_dim) {
  // Modules without a forward of their own, so that paths are model.layers.N...
  const auto decoder = register_module("model", std::make_shared<torch::nn::Module>());
  embed_tokens_ = decoder->register_module(
      "embed_tokens", std::make_shared<Embedding>(weights, "model.embed_tokens"));
  const auto layers = decoder->register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(layers->register_module(
        std::to_string(i), std::make_shared<LlamaLayer>(config, layer_path(i), weights)));
  }
  norm_ = decoder->register_module(
      "norm", std::make_shared<RmsNorm>(weights, "model.norm", config.rms_norm_eps));
  head_ = TokenHead(*this, weights, embed_tokens_, config.tie_word_embeddings);
}

torch::Tensor LlamaModel::embed(const ModelInput& input, BlockPass& pass) {
  auto x_BTD = embed_tokens_->forward(input.ids_BT);
  const std::int64_t num_tokens = input.ids_BT.size(1);
  pass.rotary = rotary_.tables(pass.num_past, num_tokens, x_BTD.options());
  if (pass.has_state && rotary_.depends_on_length()) {
    pass.rotary_keys = rotary_.tables(0, pass.num_past + num_tokens, x_BTD.options());
  }
  return x_BTD;
}

torch::Tensor LlamaModel::block(std::int64_t i, const torch::Tensor& x_BTD, const BlockPass& pass,
                                DecodeState* state) {
  AttentionCache* cache = nullptr;
  if (state != nullptr) {
    cache = state->block(i).attention.get();
    TORCH_CHECK(cache != nullptr, "LlamaModel: the state was made by another model");
  }
  return layers_[static_cast<std::size_t>(i)]->forward(x_BTD, pass, cache);
}

std::int64_t LlamaModel::max_context() const {
  if (config_.rotary.kind != RotaryKind::kDynamic) return config_.max_positions;
  return static_cast<std::int64_t>(static_cast<double>(config_.max_positions) *
                                   config_.rotary.factor);
}

BlockState LlamaModel::make_block_state(const StateOptions& options) {
  return {.attention = make_attention_cache(
              {.batch = options.batch,
               .num_kv_heads = config_.num_kv_heads,
               .max_length = options.max_length,
               .head_dim = config_.head_dim,
               .options = embed_tokens_->weight.options().requires_grad(false)},
              options.kv_format)};
}

std::vector<Axis> LlamaModel::axes() const {
  std::vector<Axis> axes(1);
  Axis& hidden = axes.front();
  hidden = {.name = "hidden", .size = config_.hidden_size};
  hidden.add("model.embed_tokens.weight", 1);
  const std::int64_t queries = config_.num_heads / config_.num_kv_heads * config_.head_dim;
  std::vector<Axis> inner;
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    const auto& layer = *layers_[static_cast<std::size_t>(i)];
    const auto& attention = layer.attention();
    const auto& mlp = layer.mlp();
    const std::string path = layer_path(i);
    hidden.add(path + ".input_layernorm.weight", 0);
    hidden.add(path + ".post_attention_layernorm.weight", 0);
    for (const auto* slot :
         {&attention.q_proj, &attention.k_proj, &attention.v_proj, &mlp.gate_proj, &mlp.up_proj}) {
      hidden.add(*slot, Side::kIn);
    }
    hidden.add(attention.o_proj, Side::kOut).add(mlp.down_proj, Side::kOut);
    // A key head with the query heads that read it.
    inner.push_back({.name = path + ".kv_heads", .size = config_.num_kv_heads});
    inner.back()
        .add(attention.q_proj, Side::kOut, 0, queries)
        .add(attention.k_proj, Side::kOut, 0, config_.head_dim)
        .add(attention.v_proj, Side::kOut, 0, config_.head_dim)
        .add(attention.o_proj, Side::kIn, 0, queries);
    inner.push_back({.name = path + ".mlp", .size = config_.intermediate_size});
    inner.back()
        .add(mlp.gate_proj, Side::kOut)
        .add(mlp.up_proj, Side::kOut)
        .add(mlp.down_proj, Side::kIn);
  }
  hidden.add("model.norm.weight", 0);
  head_.add_hidden(hidden);
  axes.insert(axes.end(), inner.begin(), inner.end());
  return axes;
}

std::vector<pim::Operator> LlamaModel::operators(pim::Phase phase, std::int64_t batch,
                                                 std::int64_t context) {
  const auto& weight = embed_tokens_->weight;
  const std::int64_t num_queries = phase == pim::Phase::kPrefill ? context : 1;
  const std::int64_t num_tokens = batch * num_queries;
  const std::int64_t num_head_runs = batch * config_.num_heads;
  const std::int64_t queries_per_cache = config_.num_heads / config_.num_kv_heads;
  OperatorList list(num_tokens, static_cast<double>(weight.element_size()));

  list.add_embedding("model.embed_tokens", config_.hidden_size);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    list.begin_layer(static_cast<std::int64_t>(i));
    const std::string path = layer_path(static_cast<std::int64_t>(i));
    const std::string attention = path + ".self_attn", mlp = path + ".mlp";
    const auto& slots = layers_[i]->attention();
    list.add_norm(path + ".input_layernorm", config_.hidden_size);
    list.add_linear(slots.q_proj, "qkv");
    list.add_linear(slots.k_proj, "qkv");
    list.add_linear(slots.v_proj, "qkv");
    list.add_activation(attention + ".rotary_emb",
                        (config_.num_heads + config_.num_kv_heads) * config_.head_dim, 1);
    list.add_attention(attention, num_queries, context, config_.head_dim, num_head_runs,
                       queries_per_cache);
    list.add_linear(slots.o_proj);
    list.add_norm(path + ".post_attention_layernorm", config_.hidden_size);
    list.add_linear(layers_[i]->mlp().gate_proj, "gate_up");
    list.add_linear(layers_[i]->mlp().up_proj, "gate_up");
    list.add_activation(mlp + ".act_fn", config_.intermediate_size, 2);
    list.add_linear(layers_[i]->mlp().down_proj);
  }
  list.begin_layer(-1);
  list.add_norm("model.norm", config_.hidden_size);
  head_.add_operators(list);
  return list.take();
}

}  // namespace lowbank
