#include "io/families/llama.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/config_rules.h"
#include "io/families/family.h"

namespace lowbank {

LlamaConfig read_llama_config(const nlohmann::ordered_json& json, const std::string& source) {
  const JsonReader config(json, source);
  check_model_type(config, "llama");
  check_architecture(config, "LlamaForCausalLM");
  check_silu(config);
  if (const auto found = config.find("attention_dropout"); found && found->value() != 0) {
    config.refuse("attention_dropout", "0");
  }

  LlamaConfig c;
  c.vocab_size = read_size(config, "vocab_size", c.vocab_size);
  c.hidden_size = read_size(config, "hidden_size", c.hidden_size);
  c.intermediate_size = read_size(config, "intermediate_size", c.intermediate_size);
  c.num_layers = read_num_layers(config, c.num_layers);
  c.num_heads = read_size(config, "num_attention_heads", c.num_heads);
  c.num_kv_heads = read_size(config, "num_key_value_heads", c.num_heads);
  c.max_positions =
      config.integer("max_position_embeddings", c.max_positions, 1, kMaxModelPositions);
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
  c.head_dim = read_size(config, "head_dim", c.hidden_size / c.num_heads);
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

ParameterList llama_parameters(const LlamaConfig& c) {
  ParameterList list;
  const std::int64_t query_size = c.num_heads * c.head_dim;
  const std::int64_t key_size = c.num_kv_heads * c.head_dim;
  list.add_matrix("model.embed_tokens", c.vocab_size, c.hidden_size);
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    const auto attention = [&](const char* name, std::int64_t out, std::int64_t in) {
      list.add_linear(layer + "self_attn." + name, out, in, c.attention_bias);
    };
    const auto mlp = [&](const char* name, std::int64_t out, std::int64_t in) {
      list.add_linear(layer + "mlp." + name, out, in, c.mlp_bias);
    };
    list.add_norm(layer + "input_layernorm", c.hidden_size, /*has_bias=*/false);
    attention("q_proj", query_size, c.hidden_size);
    attention("k_proj", key_size, c.hidden_size);
    attention("v_proj", key_size, c.hidden_size);
    attention("o_proj", c.hidden_size, query_size);
    list.add_norm(layer + "post_attention_layernorm", c.hidden_size, /*has_bias=*/false);
    mlp("gate_proj", c.intermediate_size, c.hidden_size);
    mlp("up_proj", c.intermediate_size, c.hidden_size);
    mlp("down_proj", c.hidden_size, c.intermediate_size);
  }
  list.add_norm("model.norm", c.hidden_size, /*has_bias=*/false);
  list.add_token_head("model.embed_tokens", c.vocab_size, c.hidden_size, c.tie_word_embeddings);
  return list;
}

ModelFamily llama_family() {
  return {.model_type = "llama",
          .parameters =
              [](const nlohmann::ordered_json& config, const std::string& source,
                 const HasParameter& /*has*/) {
                return llama_parameters(read_llama_config(config, source));
              },
          .gguf = llama_gguf()};
}

}  // namespace lowbank
