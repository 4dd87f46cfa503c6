#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "core/log.h"
#include "io/families/bert.h"
#include "io/families/gguf_mapping.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

// Source: ggml-org/llama.cpp gguf-py/gguf/constants.py, tensor_mapping.py.
constexpr GgufNamePair kBertGgufNames[] = {
    {"token_embd.", "embeddings.word_embeddings."},
    {"position_embd.", "embeddings.position_embeddings.", /*stays_f32=*/true},
    {"token_types.", "embeddings.token_type_embeddings.", /*stays_f32=*/true},
    {"token_embd_norm.", "embeddings.LayerNorm."},
    {"blk.{}.attn_q.", "encoder.layer.{}.attention.self.query."},
    {"blk.{}.attn_k.", "encoder.layer.{}.attention.self.key."},
    {"blk.{}.attn_v.", "encoder.layer.{}.attention.self.value."},
    {"blk.{}.attn_output.", "encoder.layer.{}.attention.output.dense."},
    {"blk.{}.attn_output_norm.", "encoder.layer.{}.attention.output.LayerNorm."},
    {"blk.{}.ffn_up.", "encoder.layer.{}.intermediate.dense."},
    {"blk.{}.ffn_down.", "encoder.layer.{}.output.dense."},
    {"blk.{}.layer_output_norm.", "encoder.layer.{}.output.LayerNorm."}};

// Source: ggml-org/llama.cpp src/llama-arch.cpp (names), src/llama-model.cpp (load_hparams, what
// the architecture bert reads).
constexpr GgufKeyRule kBertKeys[] = {
    {"context_length"},
    {"embedding_length"},
    {"block_count"},
    {"feed_forward_length"},
    {"attention.head_count"},
    {"attention.head_count_kv"},
    {"attention.key_length"},
    {"attention.value_length"},
    {"attention.layer_norm_epsilon"},
    {"attention.causal"},
    {"attention.max_alibi_bias"},
    {"pooling_type"},
    {"vocab_size", "the rows of token_embd.weight say it"},
    {"attention.layer_norm_rms_epsilon", "bert's norms use layer_norm_epsilon"},
    {"rope.freq_base", "bert's positions are a table"},
    {"rope.dimension_count", "bert's positions are a table"},
    {"classifier.output_labels", "names of a head that is refused by its tensors"}};

Json bert_from_gguf(const GgufConfig& gguf) {
  if (gguf.file().flag(gguf.key("attention.causal"), false)) {
    gguf.refuse(gguf.key("attention.causal"), "true", "false");
  }
  const auto hidden = gguf.size("embedding_length"), heads = gguf.size("attention.head_count");
  gguf.want_number("attention.head_count_kv", static_cast<double>(heads));
  const std::int64_t head_dim = hidden / heads;
  for (const auto* length : {"attention.key_length", "attention.value_length"}) {
    gguf.want_number(length, static_cast<double>(head_dim));
  }
  gguf.want_number("attention.max_alibi_bias", 0);
  // llama.cpp's enum: 0 none, 1 mean, 2 cls, 3 last, 4 rank.
  if (const auto pooling = gguf.file().integer(gguf.key("pooling_type"), 1);
      pooling < 0 || pooling > 2) {
    warn("{}: {} is {}; known are 0 (none), 1 (mean) and 2 (cls): a sentence's vector is the mean",
         gguf.file().path(), gguf.key("pooling_type"), pooling);
  }
  const TensorEntry* const types = gguf.file().find("token_types.weight");
  const TensorEntry& positions = gguf.tensor("position_embd.weight");
  return {{"architectures", {"BertModel"}},
          {"attention_probs_dropout_prob", 0.1},
          {"classifier_dropout", nullptr},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.1},
          {"hidden_size", hidden},
          {"initializer_range", 0.02},
          {"intermediate_size", gguf.size("feed_forward_length")},
          {"layer_norm_eps", gguf.positive("attention.layer_norm_epsilon")},
          {"max_position_embeddings",
           positions.shape.size() == 2 ? positions.shape[0] : gguf.size("context_length")},
          {"model_type", "bert"},
          {"num_attention_heads", heads},
          {"num_hidden_layers", gguf.size("block_count")},
          {"position_embedding_type", "absolute"},
          {"type_vocab_size",
           types != nullptr && types->shape.size() == 2 ? types->shape[0] : std::int64_t{2}},
          {"use_cache", true},
          {"vocab_size", gguf.vocab_size()}};
}

// What llama.cpp takes as optional, an absent one as zero.
bool bert_may_lack(std::string_view name) {
  return name.ends_with("output.dense.bias") || name.ends_with("intermediate.dense.bias") ||
         name.ends_with("query.bias") || name.ends_with("key.bias") || name.ends_with("value.bias");
}

void add_bert_keys(const Json& json, const std::string& source, GgufKeyBuilder& keys) {
  const BertConfig c = read_bert_config(json, source);
  if (c.hidden_act != ActivationKind::kGelu) {
    JsonReader(json, source).refuse("hidden_act", "gelu");
  }
  keys.add_size("vocab_size", c.vocab_size);
  keys.add_size("context_length", c.max_positions);
  keys.add_size("embedding_length", c.hidden_size);
  keys.add_size("block_count", c.num_layers);
  keys.add_size("feed_forward_length", c.intermediate_size);
  keys.add_size("attention.head_count", c.num_heads);
  keys.add_number("attention.layer_norm_epsilon", c.layer_norm_eps);
  keys.add("attention.causal", false);
  keys.add("pooling_type", std::uint32_t{1});  // mean; llama.cpp wants one of them named
}

}  // namespace

GgufMapping bert_gguf() {
  return {.names = kBertGgufNames,
          .keys = kBertKeys,
          .prefix = "bert.",
          .read_config = bert_from_gguf,
          .add_keys = add_bert_keys,
          .may_lack = bert_may_lack};
}

}  // namespace lowbank
