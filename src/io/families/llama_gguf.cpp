#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "io/convert_values.h"
#include "io/families/gguf_mapping.h"
#include "io/families/llama.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

// Source: ggml-org/llama.cpp gguf-py/gguf/constants.py, tensor_mapping.py.
constexpr GgufNamePair kLlamaGgufNames[] = {
    {"token_embd.", "model.embed_tokens."},
    {"output_norm.", "model.norm."},
    {"output.", "lm_head."},
    {"blk.{}.attn_norm.", "model.layers.{}.input_layernorm."},
    {"blk.{}.attn_q.", "model.layers.{}.self_attn.q_proj."},
    {"blk.{}.attn_k.", "model.layers.{}.self_attn.k_proj."},
    {"blk.{}.attn_v.", "model.layers.{}.self_attn.v_proj."},
    {"blk.{}.attn_output.", "model.layers.{}.self_attn.o_proj."},
    {"blk.{}.ffn_norm.", "model.layers.{}.post_attention_layernorm."},
    {"blk.{}.ffn_gate.", "model.layers.{}.mlp.gate_proj."},
    {"blk.{}.ffn_up.", "model.layers.{}.mlp.up_proj."},
    {"blk.{}.ffn_down.", "model.layers.{}.mlp.down_proj."}};

// Keys of our own, which llama.cpp passes over: rope_freqs.weight alone does not tell the bands.
constexpr std::string_view kLlama3FactorKey = "rope.scaling.llama3_factor";
constexpr std::string_view kLowFactorKey = "rope.scaling.low_freq_factor";
constexpr std::string_view kHighFactorKey = "rope.scaling.high_freq_factor";

// Source: ggml-org/llama.cpp src/llama-arch.cpp (names), src/llama-model.cpp (load_hparams, what
// the architecture llama reads).
constexpr GgufKeyRule kLlamaKeys[] = {
    {"context_length"},
    {"embedding_length"},
    {"block_count"},
    {"feed_forward_length"},
    {"attention.head_count"},
    {"attention.head_count_kv"},
    {"attention.key_length"},
    {"attention.value_length"},
    {"attention.layer_norm_rms_epsilon"},
    {"attention.causal"},
    {"attention.clamp_kqv"},
    {"attention.max_alibi_bias"},
    {"attention.sliding_window"},
    {"rope.dimension_count"},
    {"rope.freq_base"},
    {"rope.scale_linear"},
    {"rope.scaling.type"},
    {"rope.scaling.factor"},
    {"rope.scaling.attn_factor"},
    {"rope.scaling.original_context_length"},
    {kLlama3FactorKey},
    {kLowFactorKey},
    {kHighFactorKey},
    {"expert_count"},
    {"logit_scale"},
    {"embedding_scale"},
    {"residual_scale"},
    {"vocab_size", "the rows of token_embd.weight say it"},
    {"attention.layer_norm_epsilon", "llama's norms use layer_norm_rms_epsilon"},
    {"expert_used_count", "without experts none are used"},
    {"rope.scaling.finetuned", "a note, which llama.cpp does not use either"},
    {"rope.scaling.yarn_ext_factor", "of yarn, which is refused"},
    {"rope.scaling.yarn_attn_factor", "of yarn, which is refused"},
    {"rope.scaling.yarn_beta_fast", "of yarn, which is refused"},
    {"rope.scaling.yarn_beta_slow", "of yarn, which is refused"},
    {"rope.scaling.yarn_log_multiplier", "of yarn, which is refused"},
    {"pooling_type", "a causal model is not pooled"},
    {"tensor_data_layout", "llama.cpp knows only this layout, in which neighbours are rotated"}};

std::vector<float> llama3_divisors(const RotaryOptions& rope, std::int64_t head_dim) {
  const auto original = static_cast<double>(rope.original_max_positions);
  std::vector<float> divisors;
  for (std::int64_t i = 0; i < head_dim; i += 2) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(rope.theta, static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1;
    if (wavelength > original / rope.low_freq_factor) {
      divisor = rope.factor;
    } else if (wavelength >= original / rope.high_freq_factor) {
      const double smooth = (original / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

/// The scaling whose divisors these are. `rope` has what the file names, if it is one of ours: two
/// files with the same divisors compute the same. A factor of 0 is the largest divisor; for the
/// original context the published values are tried too.
std::optional<RotaryOptions> recover_rope(std::span<const float> divisors, RotaryOptions rope) {
  const auto head_dim = 2 * static_cast<std::int64_t>(divisors.size());
  const std::int64_t original_positions = rope.original_max_positions;
  if (rope.factor == 0) rope.factor = *std::max_element(divisors.begin(), divisors.end());
  if (!(rope.factor >= 1) || !std::isfinite(rope.factor)) return std::nullopt;
  for (const std::int64_t original :
       {original_positions, std::int64_t{8192}, std::int64_t{2048}, std::int64_t{4096},
        std::int64_t{16384}, std::int64_t{32768}, std::int64_t{65536}, std::int64_t{131072}}) {
    rope.original_max_positions = original;
    const auto expected = llama3_divisors(rope, head_dim);
    // The converter computes them in float32: the band between the two ends is off by some 1e-6.
    const bool fits = std::equal(divisors.begin(), divisors.end(), expected.begin(),
                                 [](float a, float b) { return std::fabs(a - b) <= 1e-5f * b; });
    if (fits) return rope;
  }
  return std::nullopt;
}

void add_rope(const GgufConfig& gguf, std::int64_t head_dim, Json& config) {
  const double theta = gguf.positive("rope.freq_base", 10000);
  config["rope_theta"] = theta;
  config["rope_scaling"] = nullptr;
  // As llama.cpp reads them: without a type the scaling is linear; older files have their factor
  // under another key; a factor of 0 is none.
  const std::string type_key = gguf.key("rope.scaling.type");
  const std::string type = gguf.file().text(type_key, "linear");
  if (type != "none" && type != "linear") gguf.refuse(type_key, "'" + type + "'", "none, linear");
  std::string factor_key = "rope.scaling.factor";
  if (gguf.file().number(gguf.key(factor_key), 0) == 0) factor_key = "rope.scale_linear";
  const double factor = gguf.file().number(gguf.key(factor_key), 0);
  const bool is_scaled = type == "linear" && factor != 0 && factor != 1;
  if (is_scaled) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", gguf.decimal(factor_key, 1)}};
  }
  if (type == "none" && factor != 0 && factor != 1) {
    warn("{}: {} is {}, but {} is none: positions are not scaled, as in llama.cpp",
         gguf.file().path(), gguf.key(factor_key), factor, type_key);
  } else if (factor == 0 && gguf.file().has(type_key) && type == "linear") {
    warn("{}: {} is linear, but there is no {}: positions are not scaled, as in llama.cpp",
         gguf.file().path(), type_key, gguf.key("rope.scaling.factor"));
  }
  gguf.want_number("rope.scaling.attn_factor", 1);
  for (const auto* name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
    if (gguf.file().find(name) != nullptr) {
      gguf.refuse(fmt::format("tensor '{}'", name), "there (longrope)", "rope_freqs.weight");
    }
  }
  const TensorEntry* const entry = gguf.file().find("rope_freqs.weight");
  if (entry == nullptr) return;
  if (entry->type != ElementType::kF32 || entry->shape != std::vector<std::int64_t>{head_dim / 2} ||
      is_scaled) {
    throw ConfigError(
        fmt::format("{}: tensor 'rope_freqs.weight' wants [{}] F32 and no other rope "
                    "scaling beside it",
                    gguf.file().path(), head_dim / 2));
  }
  std::vector<std::byte> scratch;
  std::vector<float> divisors(static_cast<std::size_t>(head_dim / 2));
  values_to_f32(entry->type, gguf.file().bytes(*entry, scratch), divisors);
  RotaryOptions named{.kind = RotaryKind::kLlama3, .theta = theta};
  named.factor = 0;
  if (gguf.file().has(gguf.key(kLlama3FactorKey))) named.factor = gguf.decimal(kLlama3FactorKey, 1);
  named.original_max_positions = gguf.size("rope.scaling.original_context_length", 8192);
  named.low_freq_factor = gguf.decimal(kLowFactorKey, named.low_freq_factor);
  named.high_freq_factor = gguf.decimal(kHighFactorKey, named.high_freq_factor);
  const auto rope = recover_rope(divisors, named);
  if (!rope) {
    throw ConfigError(gguf.file().path() +
                      ": tensor 'rope_freqs.weight' is not what llama3 rope scaling gives with any "
                      "published setting; supported: those of Llama 3.1 to 3.3 and their like");
  }
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", rope->factor},
                            {"low_freq_factor", rope->low_freq_factor},
                            {"high_freq_factor", rope->high_freq_factor},
                            {"original_max_position_embeddings", rope->original_max_positions}};
}

// llama.cpp takes each bias alone as optional, an absent one as zero; Hugging Face has all of a
// group or none.
bool has_bias(const GgufFile& file, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(file.entries(), [&](const TensorEntry& entry) {
    return std::ranges::any_of(parts, [&](std::string_view part) {
      return entry.name.starts_with("blk.") && entry.name.ends_with(fmt::format(".{}.bias", part));
    });
  });
}

bool llama_may_lack(std::string_view name) { return name.ends_with("_proj.bias"); }

Json llama_from_gguf(const GgufConfig& gguf) {
  const auto hidden = gguf.size("embedding_length"), heads = gguf.size("attention.head_count");
  const auto kv_heads = gguf.size("attention.head_count_kv", heads);
  if (heads > hidden || heads % kv_heads != 0) {
    gguf.refuse(gguf.key("attention.head_count"), fmt::format("{}", heads),
                fmt::format("at most embedding_length {}, multiples of head_count_kv {}", hidden,
                            kv_heads));
  }
  const auto head_dim = gguf.size("attention.key_length", hidden / heads);
  for (const auto* same : {"attention.value_length", "rope.dimension_count"}) {
    gguf.want_number(same, static_cast<double>(head_dim));
  }
  if (head_dim % 2 != 0) gguf.refuse(gguf.key("attention.key_length"), "odd", "even head sizes");
  if (!gguf.file().flag(gguf.key("attention.causal"), true)) {
    gguf.refuse(gguf.key("attention.causal"), "false", "true");
  }
  gguf.want_number("expert_count", 0);
  gguf.want_number("attention.clamp_kqv", 0);
  gguf.want_number("attention.max_alibi_bias", 0);
  gguf.want_number("attention.sliding_window", 0);
  gguf.want_number("logit_scale", 0);
  for (const auto* scale : {"embedding_scale", "residual_scale"}) gguf.want_number(scale, 1);
  const auto& file = gguf.file();
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"attention_bias", has_bias(file, {"attn_q", "attn_k", "attn_v", "attn_output"})},
                 {"attention_dropout", 0.0},
                 {"head_dim", head_dim},
                 {"hidden_act", "silu"},
                 {"hidden_size", hidden},
                 {"initializer_range", 0.02},
                 {"intermediate_size", gguf.size("feed_forward_length")},
                 {"max_position_embeddings", gguf.size("context_length")},
                 {"mlp_bias", has_bias(file, {"ffn_gate", "ffn_up", "ffn_down"})},
                 {"model_type", "llama"},
                 {"num_attention_heads", heads},
                 {"num_hidden_layers", gguf.size("block_count")},
                 {"num_key_value_heads", kv_heads},
                 {"pretraining_tp", 1},
                 {"rms_norm_eps", gguf.positive("attention.layer_norm_rms_epsilon")},
                 {"tie_word_embeddings", file.find("output.weight") == nullptr},
                 {"use_cache", true},
                 {"vocab_size", gguf.vocab_size()}};
  add_rope(gguf, head_dim, config);
  return config;
}

void add_llama_keys(const Json& json, const std::string& source, GgufKeyBuilder& keys) {
  const LlamaConfig c = read_llama_config(json, source);
  keys.add_size("vocab_size", c.vocab_size);
  keys.add_size("context_length", c.max_positions);
  keys.add_size("embedding_length", c.hidden_size);
  keys.add_size("block_count", c.num_layers);
  keys.add_size("feed_forward_length", c.intermediate_size);
  keys.add_size("attention.head_count", c.num_heads);
  keys.add_size("attention.head_count_kv", c.num_kv_heads);
  keys.add_size("attention.key_length", c.head_dim);
  keys.add_size("attention.value_length", c.head_dim);
  keys.add_number("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  keys.add_size("rope.dimension_count", c.head_dim);
  keys.add_number("rope.freq_base", c.rotary.theta);
  switch (c.rotary.kind) {
    case RotaryKind::kDefault:
      break;
    case RotaryKind::kLinear:
      keys.add("rope.scaling.type", std::string("linear"));
      keys.add_number("rope.scaling.factor", c.rotary.factor);
      break;
    case RotaryKind::kLlama3:  // next to rope_freqs.weight
      keys.add_size("rope.scaling.original_context_length", c.rotary.original_max_positions);
      keys.add_number(kLlama3FactorKey, c.rotary.factor);
      keys.add_number(kLowFactorKey, c.rotary.low_freq_factor);
      keys.add_number(kHighFactorKey, c.rotary.high_freq_factor);
      break;
    case RotaryKind::kDynamic: {
      const JsonReader rope = rotary_group(JsonReader(json, source));
      rope.refuse(rotary_type_key(rope), "default, linear, llama3");
    }
  }
}

// llama.cpp rotates neighbours within a head, Hugging Face its two halves.
TensorTransform llama_transform(const Json& json, std::string_view name, GgufDirection direction) {
  const bool is_query = name.find(".self_attn.q_proj.") != std::string_view::npos;
  if (!is_query && name.find(".self_attn.k_proj.") == std::string_view::npos) return {};
  const LlamaConfig c = read_llama_config(json, "config.json");
  return {.kind = direction == GgufDirection::kFromGguf ? TensorTransform::Kind::kPairsToHalves
                                                        : TensorTransform::Kind::kHalvesToPairs,
          .num_heads = is_query ? c.num_heads : c.num_kv_heads};
}

std::vector<float> llama_rope_divisors(const Json& json) {
  const LlamaConfig c = read_llama_config(json, "config.json");
  if (c.rotary.kind != RotaryKind::kLlama3) return {};
  return llama3_divisors(c.rotary, c.head_dim);
}

}  // namespace

GgufMapping llama_gguf() {
  return {.names = kLlamaGgufNames,
          .keys = kLlamaKeys,
          .read_config = llama_from_gguf,
          .add_keys = add_llama_keys,
          .transform = llama_transform,
          .may_lack = llama_may_lack,
          .rope_divisors = llama_rope_divisors};
}

}  // namespace lowbank
