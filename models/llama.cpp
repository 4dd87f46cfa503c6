#include "models/llama.h"

#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "kernels/rotary.h"
#include "kernels/swiglu.h"
#include "models/operator_list.h"

namespace lowbank {

/// Keys and values of the tokens seen so far, in buffers of the full length.
class LlamaState : public DecodeState {
 public:
  struct Layer {
    torch::Tensor keys_BKSE, values_BKSE;
  };
  std::int64_t length() const override { return length_; }
  std::int64_t max_length() const { return layers_.front().keys_BKSE.size(2); }
  std::int64_t batch() const { return layers_.front().keys_BKSE.size(0); }

 private:
  friend class LlamaModel;
  std::vector<Layer> layers_;
  torch::Tensor mask_BS_;  // false at padding; undefined as long as there is none
  std::int64_t length_ = 0;
};

namespace {

/// What the layers of one forward pass share.
struct LlamaPass {
  RotaryEmbedding::Tables rotary;       // of the new tokens
  RotaryEmbedding::Tables rotary_keys;  // of all tokens, where the cache holds unturned keys
  torch::Tensor mask_BS;                // of all tokens; undefined: no padding
  std::int64_t num_past = 0;
};

}  // namespace

class LlamaAttention : public torch::nn::Module {
 public:
  LlamaAttention(const LlamaConfig& config, const std::string& path, Weights& weights)
      : head_dim_(config.head_dim) {
    const std::int64_t query_size = config.num_heads * config.head_dim;
    const std::int64_t key_size = config.num_kv_heads * config.head_dim;
    const auto slot = [&](const char* name, std::int64_t in, std::int64_t out) {
      return LinearSlot(*this, name, LinearRole::kAttention,
                        make_linear(weights, path + "." + name, in, out, config.attention_bias));
    };
    q_proj = slot("q_proj", config.hidden_size, query_size);
    k_proj = slot("k_proj", config.hidden_size, key_size);
    v_proj = slot("v_proj", config.hidden_size, key_size);
    o_proj = slot("o_proj", query_size, config.hidden_size);
  }

  torch::Tensor forward(const torch::Tensor& x_BTD, const LlamaPass& pass,
                        LlamaState::Layer* cache) const {
    const std::int64_t batch = x_BTD.size(0), num_tokens = x_BTD.size(1);
    const auto heads = [&](const torch::Tensor& y) {
      return y.view({batch, num_tokens, -1, head_dim_});
    };
    const auto turn = [](const torch::Tensor& x_BTHE, const RotaryEmbedding::Tables& tables) {
      return rotary(x_BTHE, tables.cos_T1E, tables.sin_T1E);
    };
    const auto projected = forward_group(x_BTD, {&q_proj, &k_proj, &v_proj});
    const auto q_BHTE = turn(heads(projected[0]), pass.rotary);
    const bool keeps_unturned = cache != nullptr && pass.rotary_keys.cos_T1E.defined();
    auto k_BKSE = keeps_unturned ? heads(projected[1]).transpose(1, 2)
                                 : turn(heads(projected[1]), pass.rotary);
    auto v_BKSE = heads(projected[2]).transpose(1, 2);
    if (cache != nullptr) {
      cache->keys_BKSE.narrow(2, pass.num_past, num_tokens).copy_(k_BKSE);
      cache->values_BKSE.narrow(2, pass.num_past, num_tokens).copy_(v_BKSE);
      k_BKSE = cache->keys_BKSE.narrow(2, 0, pass.num_past + num_tokens);
      v_BKSE = cache->values_BKSE.narrow(2, 0, pass.num_past + num_tokens);
    }
    if (keeps_unturned) {
      k_BKSE = turn(k_BKSE.transpose(1, 2), pass.rotary_keys);
    }
    const auto mixed_BHTE = causal_attention(q_BHTE, k_BKSE, v_BKSE, pass.mask_BS);
    return o_proj(mixed_BHTE.transpose(1, 2).reshape({batch, num_tokens, -1}));
  }

  LinearSlot q_proj, k_proj, v_proj, o_proj;

 private:
  std::int64_t head_dim_;
};

class LlamaMlp : public torch::nn::Module {
 public:
  LlamaMlp(const LlamaConfig& config, const std::string& path, Weights& weights) {
    const auto slot = [&](const char* name, std::int64_t in, std::int64_t out) {
      return LinearSlot(*this, name, LinearRole::kMlp,
                        make_linear(weights, path + "." + name, in, out, config.mlp_bias));
    };
    gate_proj = slot("gate_proj", config.hidden_size, config.intermediate_size);
    up_proj = slot("up_proj", config.hidden_size, config.intermediate_size);
    down_proj = slot("down_proj", config.intermediate_size, config.hidden_size);
  }

  torch::Tensor forward(const torch::Tensor& x_BTD) const {
    const auto gate_up = forward_group(x_BTD, {&gate_proj, &up_proj});
    return down_proj(swiglu(gate_up[0], gate_up[1]));
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
          name, std::make_shared<RmsNorm>(weights, path + "." + name, config.hidden_size,
                                          config.rms_norm_eps));
    };
    input_layernorm_ = norm("input_layernorm");
    self_attn_ = register_module(
        "self_attn", std::make_shared<LlamaAttention>(config, path + ".self_attn", weights));
    post_attention_layernorm_ = norm("post_attention_layernorm");
    mlp_ = register_module("mlp", std::make_shared<LlamaMlp>(config, path + ".mlp", weights));
  }

  torch::Tensor forward(const torch::Tensor& x_BTD, const LlamaPass& pass,
                        LlamaState::Layer* cache) const {
    const auto h_BTD = x_BTD + self_attn_->forward(input_layernorm_->forward(x_BTD), pass, cache);
    return h_BTD + mlp_->forward(post_attention_layernorm_->forward(h_BTD));
  }

  void visit_linears(const std::string& path, const SlotVisitor& visit) const {
    visit(path + ".self_attn.q_proj", self_attn_->q_proj);
    visit(path + ".self_attn.k_proj", self_attn_->k_proj);
    visit(path + ".self_attn.v_proj", self_attn_->v_proj);
    visit(path + ".self_attn.o_proj", self_attn_->o_proj);
    visit(path + ".mlp.gate_proj", mlp_->gate_proj);
    visit(path + ".mlp.up_proj", mlp_->up_proj);
    visit(path + ".mlp.down_proj", mlp_->down_proj);
  }

  const LlamaAttention& attention() const { return *self_attn_; }
  const LlamaMlp& mlp() const { return *mlp_; }

 private:
  std::shared_ptr<RmsNorm> input_layernorm_, post_attention_layernorm_;
  std::shared_ptr<LlamaAttention> self_attn_;
  std::shared_ptr<LlamaMlp> mlp_;
};

LlamaConfig read_llama_config(const nlohmann::ordered_json& json, const std::string& source) {
  constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
  const JsonReader config(json, source);
  if (config.text("model_type", "llama") != "llama") config.refuse("model_type", "llama");
  if (const auto found = json.find("architectures");
      found != json.end() && !found->is_null() &&
      *found != nlohmann::ordered_json::array({"LlamaForCausalLM"})) {
    config.refuse("architectures", "[\"LlamaForCausalLM\"]");
  }
  if (config.has("quantization_config")) config.refuse("quantization_config", "none");
  if (config.text("hidden_act", "silu") != "silu") config.refuse("hidden_act", "silu");
  if (const auto found = json.find("attention_dropout");
      found != json.end() && !found->is_null() && *found != 0) {
    config.refuse("attention_dropout", "0");
  }

  LlamaConfig c;
  const auto size = [&](const char* key, std::int64_t otherwise) {
    return config.integer(key, otherwise, 1, kMaxSize);
  };
  c.vocab_size = size("vocab_size", c.vocab_size);
  c.hidden_size = size("hidden_size", c.hidden_size);
  c.intermediate_size = size("intermediate_size", c.intermediate_size);
  c.num_layers = size("num_hidden_layers", c.num_layers);
  c.num_heads = size("num_attention_heads", c.num_heads);
  c.num_kv_heads = size("num_key_value_heads", c.num_heads);
  c.max_positions =
      config.integer("max_position_embeddings", c.max_positions, 1, std::int64_t{1} << 31);
  c.rms_norm_eps = config.positive("rms_norm_eps", c.rms_norm_eps);
  c.tie_word_embeddings = config.flag("tie_word_embeddings", c.tie_word_embeddings);
  c.attention_bias = config.flag("attention_bias", c.attention_bias);
  c.mlp_bias = config.flag("mlp_bias", c.mlp_bias);
  if (c.num_heads % c.num_kv_heads != 0) {
    config.refuse("num_key_value_heads",
                  fmt::format("divisors of num_attention_heads = {}", c.num_heads));
  }
  if (!config.has("head_dim") && c.hidden_size % c.num_heads != 0) {
    config.refuse("hidden_size", fmt::format("multiples of num_attention_heads = {}, unless "
                                             "head_dim is given",
                                             c.num_heads));
  }
  c.head_dim = size("head_dim", c.hidden_size / c.num_heads);
  if (c.head_dim % 2 != 0) {
    config.refuse(config.has("head_dim") ? "head_dim" : "hidden_size",
                  "even head sizes (rotary embedding turns pairs)");
  }
  c.rotary = read_rotary_options(config, c.max_positions);
  if (c.rotary.kind == RotaryKind::kDynamic && c.head_dim == 2) {
    config.refuse("head_dim", "more than 2 with dynamic rotary scaling");
  }
  return c;
}

LlamaModel::LlamaModel(const LlamaConfig& config, const nlohmann::ordered_json& json,
                       Weights& weights)
    : config_(config),
      json_(std::make_shared<nlohmann::ordered_json>(json)),
      rotary_(config.rotary, config.head_dim) {
  // Modules without a forward of their own, so that paths are model.layers.N...
  const auto decoder = register_module("model", std::make_shared<torch::nn::Module>());
  embed_tokens_ = decoder->register_module(
      "embed_tokens", std::make_shared<Embedding>(weights, "model.embed_tokens", config.vocab_size,
                                                  config.hidden_size));
  const auto layers = decoder->register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(layers->register_module(
        std::to_string(i), std::make_shared<LlamaLayer>(config, layer_path(i), weights)));
  }
  norm_ = decoder->register_module(
      "norm",
      std::make_shared<RmsNorm>(weights, "model.norm", config.hidden_size, config.rms_norm_eps));
  head_ =
      TokenHead(*this, weights, embed_tokens_, "model.embed_tokens", config.tie_word_embeddings);
}

torch::Tensor LlamaModel::hidden_states(const ModelInput& input, DecodeState* state) {
  check_input(input, "LlamaModel");
  if (state == nullptr) return run(input, nullptr);
  const auto& ids_BT = input.ids_BT;
  auto* const own_state = dynamic_cast<LlamaState*>(state);
  TORCH_CHECK(own_state != nullptr, "LlamaModel: the state was made by another model");
  TORCH_CHECK(ids_BT.size(0) == own_state->batch(), "LlamaModel: the state is of ",
              own_state->batch(), " sequences, got ", ids_BT.size(0));
  TORCH_CHECK(state->length() + ids_BT.size(1) <= own_state->max_length(),
              "LlamaModel: the state has room for ", own_state->max_length(), " tokens, not for ",
              state->length(), " + ", ids_BT.size(1));
  const c10::NoGradGuard no_grad;
  if (input.mask_BT.defined()) {
    if (!own_state->mask_BS_.defined()) {
      const c10::InferenceMode normal_tensors(false);
      own_state->mask_BS_ =
          at::ones({own_state->batch(), own_state->max_length()}, input.mask_BT.options());
    }
    own_state->mask_BS_.narrow(1, state->length(), ids_BT.size(1)).copy_(input.mask_BT);
  }
  auto hidden_BTD = run(input, own_state);
  own_state->length_ += ids_BT.size(1);
  return hidden_BTD;
}

torch::Tensor LlamaModel::run(const ModelInput& input, LlamaState* state) {
  const std::int64_t num_tokens = input.ids_BT.size(1);
  auto x_BTD = embed_tokens_->forward(input.ids_BT);
  LlamaPass pass;
  pass.num_past = state == nullptr ? 0 : state->length();
  const std::int64_t total = pass.num_past + num_tokens;
  pass.rotary = rotary_.tables(pass.num_past, num_tokens, x_BTD.options());
  if (state != nullptr && rotary_.depends_on_length()) {
    pass.rotary_keys = rotary_.tables(0, total, x_BTD.options());
  }
  pass.mask_BS = state == nullptr            ? input.mask_BT
                 : state->mask_BS_.defined() ? state->mask_BS_.narrow(1, 0, total)
                                             : torch::Tensor();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x_BTD = layers_[i]->forward(x_BTD, pass, state == nullptr ? nullptr : &state->layers_[i]);
  }
  return norm_->forward(x_BTD);
}

std::int64_t LlamaModel::max_context() const {
  if (config_.rotary.kind != RotaryKind::kDynamic) return config_.max_positions;
  return static_cast<std::int64_t>(static_cast<double>(config_.max_positions) *
                                   config_.rotary.factor);
}

std::unique_ptr<DecodeState> LlamaModel::make_state(std::int64_t batch, std::int64_t max_length) {
  TORCH_CHECK(batch >= 1 && max_length >= 1, "LlamaModel::make_state: batch ", batch,
              " and max_length ", max_length, " must be at least 1");
  // Usable in and out of inference mode, whatever mode it is made in.
  const c10::InferenceMode normal_tensors(false);
  auto state = std::make_unique<LlamaState>();
  const auto options = embed_tokens_->weight.options().requires_grad(false);
  const auto buffer = [&] {
    return at::empty({batch, config_.num_kv_heads, max_length, config_.head_dim}, options);
  };
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    state->layers_.push_back({.keys_BKSE = buffer(), .values_BKSE = buffer()});
  }
  return state;
}

void LlamaModel::visit_linears(const SlotVisitor& visit) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i]->visit_linears(layer_path(static_cast<std::int64_t>(i)), visit);
  }
  head_.visit_linears(visit);
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
    list.add_linear(attention + ".q_proj", slots.q_proj.get(), "qkv");
    list.add_linear(attention + ".k_proj", slots.k_proj.get(), "qkv");
    list.add_linear(attention + ".v_proj", slots.v_proj.get(), "qkv");
    list.add_activation(attention + ".rotary_emb",
                        (config_.num_heads + config_.num_kv_heads) * config_.head_dim, 1);
    list.add_attention(attention, num_queries, context, config_.head_dim, num_head_runs,
                       queries_per_cache);
    list.add_linear(attention + ".o_proj", slots.o_proj.get());
    list.add_norm(path + ".post_attention_layernorm", config_.hidden_size);
    list.add_linear(mlp + ".gate_proj", layers_[i]->mlp().gate_proj.get(), "gate_up");
    list.add_linear(mlp + ".up_proj", layers_[i]->mlp().up_proj.get(), "gate_up");
    list.add_activation(mlp + ".act_fn", config_.intermediate_size, 2);
    list.add_linear(mlp + ".down_proj", layers_[i]->mlp().down_proj.get());
  }
  list.begin_layer(-1);
  list.add_norm("model.norm", config_.hidden_size);
  head_.add_operators(list);
  return list.take();
}

}  // namespace lowbank
