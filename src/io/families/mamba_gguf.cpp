#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/gguf_mapping.h"
#include "io/families/mamba.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

// Source: ggml-org/llama.cpp gguf-py/gguf/constants.py, tensor_mapping.py.
constexpr GgufNamePair kMambaGgufNames[] = {
    {"token_embd.", "backbone.embeddings."},
    {"output_norm.", "backbone.norm_f."},
    {"output.", "lm_head."},
    {"blk.{}.attn_norm.", "backbone.layers.{}.norm."},
    {"blk.{}.ssm_in.", "backbone.layers.{}.mixer.in_proj."},
    {"blk.{}.ssm_conv1d.", "backbone.layers.{}.mixer.conv1d.", /*stays_f32=*/true},
    {"blk.{}.ssm_x.", "backbone.layers.{}.mixer.x_proj."},
    {"blk.{}.ssm_dt.", "backbone.layers.{}.mixer.dt_proj."},
    {"blk.{}.ssm_a", "backbone.layers.{}.mixer.A_log", /*stays_f32=*/true},
    {"blk.{}.ssm_d", "backbone.layers.{}.mixer.D"},
    {"blk.{}.ssm_out.", "backbone.layers.{}.mixer.out_proj."}};

// Source: ggml-org/llama.cpp src/llama-arch.cpp (names), src/llama-model.cpp (load_hparams, what
// the architecture mamba reads).
constexpr GgufKeyRule kMambaKeys[] = {
    {"embedding_length"},
    {"block_count"},
    {"attention.layer_norm_rms_epsilon"},
    {"ssm.conv_kernel"},
    {"ssm.inner_size"},
    {"ssm.state_size"},
    {"ssm.time_step_rank"},
    {"ssm.dt_b_c_rms"},
    {"context_length", "a state has no length"},
    {"feed_forward_length", "there is no such layer"},
    {"attention.head_count", "there is no attention"},
    {"attention.head_count_kv", "there is no attention"},
    {"attention.layer_norm_epsilon", "mamba's norms use layer_norm_rms_epsilon"},
    {"vocab_size", "the rows of token_embd.weight say it"}};

Json mamba_from_gguf(const GgufConfig& gguf) {
  const auto hidden = gguf.size("embedding_length"), inner = gguf.size("ssm.inner_size");
  if (gguf.file().flag(gguf.key("ssm.dt_b_c_rms"), false)) {
    gguf.refuse(gguf.key("ssm.dt_b_c_rms"), "true", "false");
  }
  const auto& file = gguf.file();
  return {{"architectures", {"MambaForCausalLM"}},
          {"conv_kernel", gguf.size("ssm.conv_kernel")},
          {"expand", inner / hidden},
          {"hidden_act", "silu"},
          {"hidden_size", hidden},
          {"initializer_range", 0.1},
          {"intermediate_size", inner},
          {"layer_norm_epsilon", gguf.positive("attention.layer_norm_rms_epsilon")},
          {"model_type", "mamba"},
          {"num_hidden_layers", gguf.size("block_count")},
          {"residual_in_fp32", true},
          {"state_size", gguf.size("ssm.state_size")},
          {"tie_word_embeddings", file.find("output.weight") == nullptr},
          {"time_step_rank", gguf.size("ssm.time_step_rank")},
          {"use_bias", false},
          {"use_cache", true},
          {"use_conv_bias", file.find("blk.0.ssm_conv1d.bias") != nullptr},
          {"vocab_size", gguf.vocab_size()}};
}

void add_mamba_keys(const Json& json, const std::string& source, GgufKeyBuilder& keys) {
  const MambaConfig c = read_mamba_config(json, source);
  if (c.use_bias) JsonReader(json, source).refuse("use_bias", "false (GGUF has no place)");
  keys.add_size("vocab_size", c.vocab_size);
  // No limit; llama.cpp's converter writes this.
  keys.add("context_length", std::uint32_t{1} << 20);
  keys.add_size("embedding_length", c.hidden_size);
  keys.add("feed_forward_length", std::uint32_t{0});
  keys.add("attention.head_count", std::uint32_t{0});
  keys.add_size("block_count", c.num_layers);
  keys.add_size("ssm.conv_kernel", c.conv_kernel);
  keys.add_size("ssm.inner_size", c.inner_size);
  keys.add_size("ssm.state_size", c.state_size);
  keys.add_size("ssm.time_step_rank", c.time_step_rank);
  keys.add_number("attention.layer_norm_rms_epsilon", c.layer_norm_eps);
  keys.add("ssm.dt_b_c_rms", false);
}

TensorTransform mamba_transform(const Json& /*config*/, std::string_view name,
                                GgufDirection direction) {
  if (!name.ends_with(".mixer.A_log")) return {};
  return {.kind = direction == GgufDirection::kFromGguf ? TensorTransform::Kind::kLogOfMinus
                                                        : TensorTransform::Kind::kMinusExp};
}

}  // namespace

GgufMapping mamba_gguf() {
  return {.names = kMambaGgufNames,
          .keys = kMambaKeys,
          .read_config = mamba_from_gguf,
          .add_keys = add_mamba_keys,
          .transform = mamba_transform};
}

}  // namespace lowbank
