#include "io/model_layout.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_reader.h"

namespace lowbank {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayoutLayers = 1024;  // each takes memory before a file is looked at

class LayoutBuilder {
 public:
  LayoutBuilder(const nlohmann::ordered_json& json, const std::string& source)
      : config_(json, source) {}

  std::int64_t size(const char* key, std::int64_t otherwise) const {
    return config_.integer(key, otherwise, 1, kMaxSize);
  }
  std::int64_t num_layers(std::int64_t otherwise) const {
    return config_.integer("num_hidden_layers", otherwise, 1, kMaxLayoutLayers);
  }
  const JsonReader& config() const { return config_; }
  void add(std::string name, Shape shape) {
    layout.parameters.push_back({std::move(name), std::move(shape), part});
  }
  /// weight [out, in], and bias [out].
  void linear(const std::string& path, std::int64_t out, std::int64_t in, bool has_bias) {
    add(path + ".weight", {out, in});
    if (has_bias) add(path + ".bias", {out});
  }
  void norm(const std::string& path, std::int64_t width) {
    add(path + ".weight", {width});
    add(path + ".bias", {width});
  }

  ModelLayout layout;
  std::string part;

 private:
  JsonReader config_;
};

// Source: transformers 4.57 modeling_llama.py, configuration_llama.py.
void llama_layout(LayoutBuilder& b) {
  const auto& config = b.config();
  const auto vocab = b.size("vocab_size", 32000), hidden = b.size("hidden_size", 4096);
  const auto inner = b.size("intermediate_size", 11008), layers = b.num_layers(32);
  const auto heads = b.size("num_attention_heads", 32);
  const auto kv_heads = b.size("num_key_value_heads", heads);
  const auto head_dim = b.size("head_dim", std::max<std::int64_t>(hidden / heads, 1));
  const bool attention_bias = config.flag("attention_bias", false);
  const bool mlp_bias = config.flag("mlp_bias", false);
  b.add("model.embed_tokens.weight", {vocab, hidden});
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    b.add(layer + "input_layernorm.weight", {hidden});
    b.linear(layer + "self_attn.q_proj", heads * head_dim, hidden, attention_bias);
    b.linear(layer + "self_attn.k_proj", kv_heads * head_dim, hidden, attention_bias);
    b.linear(layer + "self_attn.v_proj", kv_heads * head_dim, hidden, attention_bias);
    b.linear(layer + "self_attn.o_proj", hidden, heads * head_dim, attention_bias);
    b.add(layer + "post_attention_layernorm.weight", {hidden});
    b.linear(layer + "mlp.gate_proj", inner, hidden, mlp_bias);
    b.linear(layer + "mlp.up_proj", inner, hidden, mlp_bias);
    b.linear(layer + "mlp.down_proj", hidden, inner, mlp_bias);
  }
  b.add("model.norm.weight", {hidden});
  if (config.flag("tie_word_embeddings", false)) {
    b.layout.ties.emplace_back("lm_head.weight", "model.embed_tokens.weight");
  } else {
    b.add("lm_head.weight", {vocab, hidden});
  }
}

// Source: transformers 4.57 modeling_bert.py, configuration_bert.py.
void bert_layout(LayoutBuilder& b, bool has_prefix, const nlohmann::ordered_json& json) {
  const auto vocab = b.size("vocab_size", 30522), hidden = b.size("hidden_size", 768);
  const auto inner = b.size("intermediate_size", 3072), layers = b.num_layers(12);
  const std::string prefix = has_prefix ? "bert." : "";
  const std::string embeddings = prefix + "embeddings.";
  b.add(embeddings + "word_embeddings.weight", {vocab, hidden});
  b.add(embeddings + "position_embeddings.weight",
        {b.size("max_position_embeddings", 512), hidden});
  b.add(embeddings + "token_type_embeddings.weight", {b.size("type_vocab_size", 2), hidden});
  b.norm(embeddings + "LayerNorm", hidden);
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("{}encoder.layer.{}.", prefix, i);
    for (const auto* name : {"query", "key", "value"}) {
      b.linear(layer + "attention.self." + name, hidden, hidden, true);
    }
    b.linear(layer + "attention.output.dense", hidden, hidden, true);
    b.norm(layer + "attention.output.LayerNorm", hidden);
    b.linear(layer + "intermediate.dense", inner, hidden, true);
    b.linear(layer + "output.dense", hidden, inner, true);
    b.norm(layer + "output.LayerNorm", hidden);
  }
  b.part = "pooler";
  b.linear(prefix + "pooler.dense", hidden, hidden, true);
  b.part = "MLM head";
  b.add("cls.predictions.bias", {vocab});
  b.linear("cls.predictions.transform.dense", hidden, hidden, true);
  b.norm("cls.predictions.transform.LayerNorm", hidden);
  b.layout.ties.emplace_back("cls.predictions.decoder.weight",
                             embeddings + "word_embeddings.weight");
  b.layout.ties.emplace_back("cls.predictions.decoder.bias", "cls.predictions.bias");
  b.part = "next-sentence head";
  b.linear("cls.seq_relationship", 2, hidden, true);
  b.part = "classifier";
  const auto labels = json.find("id2label");  // transformers derives num_labels from it
  const bool has_labels = labels != json.end() && labels->is_object() && !labels->empty();
  const auto num_labels =
      has_labels ? static_cast<std::int64_t>(labels->size()) : b.size("num_labels", 2);
  b.linear("classifier", num_labels, hidden, true);
}

// Source: transformers 4.57 modeling_mamba.py, configuration_mamba.py.
void mamba_layout(LayoutBuilder& b, const nlohmann::ordered_json& json) {
  const auto& config = b.config();
  const auto vocab = b.size("vocab_size", 50280), hidden = b.size("hidden_size", 768);
  const auto layers = b.num_layers(32), states = b.size("state_size", 16);
  const auto inner = b.size("intermediate_size", b.size("expand", 2) * hidden);
  const auto width = b.size("conv_kernel", 4);
  const auto given_rank = json.find("time_step_rank");
  const bool is_auto = given_rank != json.end() && *given_rank == "auto";
  const auto auto_rank = (hidden + 15) / 16;
  const auto rank = is_auto ? auto_rank : b.size("time_step_rank", auto_rank);
  const bool use_bias = config.flag("use_bias", false);
  b.add("backbone.embeddings.weight", {vocab, hidden});
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    const std::string mixer = layer + "mixer.";
    b.add(layer + "norm.weight", {hidden});
    b.add(mixer + "A_log", {inner, states});
    b.add(mixer + "D", {inner});
    b.linear(mixer + "in_proj", 2 * inner, hidden, use_bias);
    b.add(mixer + "conv1d.weight", {inner, 1, width});
    if (config.flag("use_conv_bias", true)) b.add(mixer + "conv1d.bias", {inner});
    b.linear(mixer + "x_proj", rank + 2 * states, inner, false);
    b.linear(mixer + "dt_proj", inner, rank, true);
    b.linear(mixer + "out_proj", hidden, inner, use_bias);
  }
  b.add("backbone.norm_f.weight", {hidden});
  if (config.flag("tie_word_embeddings", true)) {
    b.layout.ties.emplace_back("lm_head.weight", "backbone.embeddings.weight");
  } else {
    b.add("lm_head.weight", {vocab, hidden});
  }
}

}  // namespace

ModelLayout model_layout(const nlohmann::ordered_json& config, const std::string& source,
                         bool bert_prefix) {
  LayoutBuilder builder(config, source);
  builder.layout.model_type = builder.config().text("model_type", "");
  if (builder.layout.model_type == "llama") {
    llama_layout(builder);
  } else if (builder.layout.model_type == "bert") {
    bert_layout(builder, bert_prefix, config);
  } else if (builder.layout.model_type == "mamba") {
    mamba_layout(builder, config);
  } else {
    builder.config().refuse("model_type", "llama, bert, mamba");
  }
  return std::move(builder.layout);
}

std::string current_name(const std::string& name) {
  for (const auto& [old_end, new_end] : {std::pair("LayerNorm.gamma", "LayerNorm.weight"),
                                         std::pair("LayerNorm.beta", "LayerNorm.bias")}) {
    if (name.ends_with(old_end)) {
      return name.substr(0, name.size() - std::string_view(old_end).size()) + new_end;
    }
  }
  return name;
}

bool is_buffer_name(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("embeddings.position_ids");
}

}  // namespace lowbank
