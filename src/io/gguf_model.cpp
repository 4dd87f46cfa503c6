#include "io/gguf_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_reader.h"
#include "io/convert_values.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using TransformKind = TensorTransform::Kind;

constexpr std::int64_t kMaxGgufSize = std::int64_t{1} << 31;

/// A tensor's two names; {} stands for the number of the layer. Names that end in a dot go on with
/// "weight" or "bias" on both sides.
struct NamePair {
  std::string_view gguf;
  std::string_view hugging_face;
};

// Source of the three lists: ggml-org/llama.cpp gguf-py/gguf/constants.py, tensor_mapping.py.
constexpr NamePair kLlamaNames[] = {
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
constexpr NamePair kBertNames[] = {
    {"token_embd.", "embeddings.word_embeddings."},
    {"position_embd.", "embeddings.position_embeddings."},
    {"token_types.", "embeddings.token_type_embeddings."},
    {"token_embd_norm.", "embeddings.LayerNorm."},
    {"blk.{}.attn_q.", "encoder.layer.{}.attention.self.query."},
    {"blk.{}.attn_k.", "encoder.layer.{}.attention.self.key."},
    {"blk.{}.attn_v.", "encoder.layer.{}.attention.self.value."},
    {"blk.{}.attn_output.", "encoder.layer.{}.attention.output.dense."},
    {"blk.{}.attn_output_norm.", "encoder.layer.{}.attention.output.LayerNorm."},
    {"blk.{}.ffn_up.", "encoder.layer.{}.intermediate.dense."},
    {"blk.{}.ffn_down.", "encoder.layer.{}.output.dense."},
    {"blk.{}.layer_output_norm.", "encoder.layer.{}.output.LayerNorm."}};
constexpr NamePair kMambaNames[] = {{"token_embd.", "backbone.embeddings."},
                                    {"output_norm.", "backbone.norm_f."},
                                    {"output.", "lm_head."},
                                    {"blk.{}.attn_norm.", "backbone.layers.{}.norm."},
                                    {"blk.{}.ssm_in.", "backbone.layers.{}.mixer.in_proj."},
                                    {"blk.{}.ssm_conv1d.", "backbone.layers.{}.mixer.conv1d."},
                                    {"blk.{}.ssm_x.", "backbone.layers.{}.mixer.x_proj."},
                                    {"blk.{}.ssm_dt.", "backbone.layers.{}.mixer.dt_proj."},
                                    {"blk.{}.ssm_a", "backbone.layers.{}.mixer.A_log"},
                                    {"blk.{}.ssm_d", "backbone.layers.{}.mixer.D"},
                                    {"blk.{}.ssm_out.", "backbone.layers.{}.mixer.out_proj."}};

std::span<const NamePair> names_of(const std::string& architecture) {
  if (architecture == "llama") return kLlamaNames;
  if (architecture == "bert") return kBertNames;
  if (architecture == "mamba") return kMambaNames;
  return {};
}

/// The name with `from` in front replaced by `to`, the layer's number kept; empty if `from` does
/// not match.
std::optional<std::string> rename(std::string_view name, std::string_view from,
                                  std::string_view to) {
  std::string layer;
  if (const auto hole = from.find("{}"); hole != std::string_view::npos) {
    if (!name.starts_with(from.substr(0, hole))) return std::nullopt;
    name.remove_prefix(hole);
    from.remove_prefix(hole + 2);
    const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0) return std::nullopt;
    layer = name.substr(0, digits);
    name.remove_prefix(digits);
  }
  if (!name.starts_with(from)) return std::nullopt;
  name.remove_prefix(from.size());
  const bool has_end = from.ends_with('.');
  if (has_end ? name != "weight" && name != "bias" : !name.empty()) return std::nullopt;
  std::string out(to);
  if (const auto hole = out.find("{}"); hole != std::string::npos) out.replace(hole, 2, layer);
  return out.append(name);
}

std::string_view without_bert(std::string_view name) {
  return name.starts_with("bert.") ? name.substr(5) : name;
}

/// Reads a GGUF file's keys below its architecture's name.
class GgufConfig {
 public:
  explicit GgufConfig(const GgufFile& file)
      : file_(file), architecture_(file.text("general.architecture")) {}

  const GgufFile& file() const { return file_; }
  const std::string& architecture() const { return architecture_; }
  std::string key(std::string_view name) const { return architecture_ + "." + std::string(name); }
  std::int64_t size(std::string_view name) const { return checked(name, file_.integer(key(name))); }
  std::int64_t size(std::string_view name, std::int64_t otherwise) const {
    return file_.has(key(name)) ? size(name) : otherwise;
  }
  double positive(std::string_view name) const {
    const double number = file_.number(key(name));
    if (!(number > 0)) refuse(key(name), fmt::format("{}", number), "numbers > 0");
    return number;
  }
  double positive(std::string_view name, double otherwise) const {
    return file_.has(key(name)) ? positive(name) : otherwise;
  }
  /// A key that changes the result: only these values are what a Hugging Face model does.
  void want_number(std::string_view name, double neutral) const {
    const double number = file_.number(key(name), neutral);
    if (number != neutral) refuse(key(name), fmt::format("{}", number), fmt::format("{}", neutral));
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& value,
                           const std::string& supported) const {
    throw ConfigError(
        fmt::format("{}: {} is {}; supported: {}", file_.path(), name, value, supported));
  }
  const TensorEntry& tensor(std::string_view name) const {
    const TensorEntry* const entry = file_.find(name);
    if (entry == nullptr) throw IoError(fmt::format("{}: has no tensor '{}'", file_.path(), name));
    return *entry;
  }
  std::int64_t vocab_size() const {
    const TensorEntry& entry = tensor("token_embd.weight");
    if (entry.shape.size() != 2) {
      throw IoError(file_.path() + ": tensor 'token_embd.weight' is no matrix");
    }
    return entry.shape[0];
  }
  void add_token_ids(Json& config) const {
    constexpr std::array<std::pair<const char*, const char*>, 3> kIds = {
        {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
         {"eos_token_id", "tokenizer.ggml.eos_token_id"},
         {"pad_token_id", "tokenizer.ggml.padding_token_id"}}};
    for (const auto& [name, key_name] : kIds) {
      if (file_.has(key_name)) config[name] = file_.integer(key_name);
    }
  }

 private:
  std::int64_t checked(std::string_view name, std::int64_t value) const {
    if (value < 1 || value > kMaxGgufSize) {
      throw IoError(fmt::format("{}: key '{}' wants a whole number in [1, {}]; it holds {}",
                                file_.path(), key(name), kMaxGgufSize, value));
    }
    return value;
  }

  const GgufFile& file_;
  std::string architecture_;
};

/// llama3 scaling of rotary frequencies, as config.json describes it.
struct Llama3Rope {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_positions = 8192;
};

std::vector<float> rope_divisors(const Llama3Rope& rope, double theta, std::int64_t head_dim) {
  std::vector<float> divisors;
  for (std::int64_t i = 0; i < head_dim; i += 2) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(theta, static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1;
    if (wavelength > rope.original_max_positions / rope.low_freq_factor) {
      divisor = rope.factor;
    } else if (wavelength >= rope.original_max_positions / rope.high_freq_factor) {
      const double smooth = (rope.original_max_positions / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

/// The scaling whose divisors these are. The factor is the largest of them; of the other three only
/// the published values are tried: two files with the same divisors compute the same.
/// A file may name the original context, as ours do.
std::optional<Llama3Rope> recover_rope(std::span<const float> divisors, double theta,
                                       std::int64_t original_positions) {
  const auto head_dim = 2 * static_cast<std::int64_t>(divisors.size());
  Llama3Rope rope;
  rope.factor = *std::max_element(divisors.begin(), divisors.end());
  if (!(rope.factor >= 1) || !std::isfinite(rope.factor)) return std::nullopt;
  for (const double original : {static_cast<double>(original_positions), 8192.0, 2048.0, 4096.0,
                                16384.0, 32768.0, 65536.0, 131072.0}) {
    rope.original_max_positions = original;
    const auto expected = rope_divisors(rope, theta, head_dim);
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
  const std::string type_key = gguf.key("rope.scaling.type");
  const std::string type = gguf.file().text(type_key, "none");
  if (type == "linear") {
    config["rope_scaling"] = {{"rope_type", "linear"},
                              {"factor", gguf.positive("rope.scaling.factor")}};
  } else if (type != "none") {
    gguf.refuse(type_key, type, "none, linear");
  }
  const TensorEntry* const entry = gguf.file().find("rope_freqs.weight");
  if (entry == nullptr) return;
  if (entry->type != ElementType::kF32 || entry->shape != std::vector<std::int64_t>{head_dim / 2} ||
      type != "none") {
    throw ConfigError(
        fmt::format("{}: tensor 'rope_freqs.weight' wants [{}] F32 and no other rope "
                    "scaling beside it",
                    gguf.file().path(), head_dim / 2));
  }
  std::vector<std::byte> scratch;
  std::vector<float> divisors(static_cast<std::size_t>(head_dim / 2));
  values_to_f32(entry->type, gguf.file().bytes(*entry, scratch), divisors);
  const auto rope =
      recover_rope(divisors, theta, gguf.size("rope.scaling.original_context_length", 8192));
  if (!rope) {
    throw ConfigError(gguf.file().path() +
                      ": tensor 'rope_freqs.weight' is not what llama3 rope scaling gives with any "
                      "published setting; supported: those of Llama 3.1 to 3.3 and their like");
  }
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", rope->factor},
                            {"low_freq_factor", rope->low_freq_factor},
                            {"high_freq_factor", rope->high_freq_factor},
                            {"original_max_position_embeddings",
                             static_cast<std::int64_t>(rope->original_max_positions)}};
}

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
  gguf.want_number("expert_count", 0);
  gguf.want_number("attention.clamp_kqv", 0);
  gguf.want_number("attention.max_alibi_bias", 0);
  gguf.want_number("attention.sliding_window", 0);
  gguf.want_number("logit_scale", 0);
  for (const auto* scale : {"embedding_scale", "residual_scale"}) gguf.want_number(scale, 1);
  const auto& file = gguf.file();
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"attention_bias", file.find("blk.0.attn_q.bias") != nullptr},
                 {"attention_dropout", 0.0},
                 {"head_dim", head_dim},
                 {"hidden_act", "silu"},
                 {"hidden_size", hidden},
                 {"initializer_range", 0.02},
                 {"intermediate_size", gguf.size("feed_forward_length")},
                 {"max_position_embeddings", gguf.size("context_length")},
                 {"mlp_bias", file.find("blk.0.ffn_up.bias") != nullptr},
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

Json bert_from_gguf(const GgufConfig& gguf) {
  if (gguf.file().flag(gguf.key("attention.causal"), false)) {
    gguf.refuse(gguf.key("attention.causal"), "true", "false");
  }
  const TensorEntry* const types = gguf.file().find("token_types.weight");
  const TensorEntry& positions = gguf.tensor("position_embd.weight");
  return {{"architectures", {"BertModel"}},
          {"attention_probs_dropout_prob", 0.1},
          {"classifier_dropout", nullptr},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.1},
          {"hidden_size", gguf.size("embedding_length")},
          {"initializer_range", 0.02},
          {"intermediate_size", gguf.size("feed_forward_length")},
          {"layer_norm_eps", gguf.positive("attention.layer_norm_epsilon")},
          {"max_position_embeddings",
           positions.shape.size() == 2 ? positions.shape[0] : gguf.size("context_length")},
          {"model_type", "bert"},
          {"num_attention_heads", gguf.size("attention.head_count")},
          {"num_hidden_layers", gguf.size("block_count")},
          {"position_embedding_type", "absolute"},
          {"type_vocab_size",
           types != nullptr && types->shape.size() == 2 ? types->shape[0] : std::int64_t{2}},
          {"use_cache", true},
          {"vocab_size", gguf.vocab_size()}};
}

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

std::uint32_t u32(std::int64_t value) { return static_cast<std::uint32_t>(value); }

/// Writes the keys of one architecture from config.json.
class KeyBuilder {
 public:
  KeyBuilder(const Json& json, const std::string& source, std::string architecture)
      : config(json, source), architecture_(std::move(architecture)) {}

  void add(std::string_view name, GgufMetadata value) {
    keys.emplace_back(architecture_ + "." + std::string(name), std::move(value));
  }
  std::int64_t size(const char* key, std::int64_t otherwise) const {
    return config.integer(key, otherwise, 1, kMaxGgufSize);
  }
  void add_size(std::string_view name, const char* key, std::int64_t otherwise) {
    add(name, u32(size(key, otherwise)));
  }
  void add_number(std::string_view name, const char* key, double otherwise) {
    add(name, static_cast<float>(config.positive(key, otherwise)));
  }

  JsonReader config;
  GgufKeys keys;

 private:
  std::string architecture_;
};

/// The rope settings of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
JsonReader rope_group(const JsonReader& config) {
  return config.group(config.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
}

double rope_theta(const JsonReader& config) {
  return rope_group(config).positive("rope_theta", config.positive("rope_theta", 10000));
}

std::string rope_type(const JsonReader& rope) {
  return rope.text(rope.has("rope_type") ? "rope_type" : "type", "default");
}

std::int64_t llama_head_dim(const JsonReader& config) {
  const auto hidden = config.integer("hidden_size", 4096, 1, kMaxGgufSize);
  const auto heads = config.integer("num_attention_heads", 32, 1, kMaxGgufSize);
  return config.integer("head_dim", std::max<std::int64_t>(hidden / heads, 1), 1, kMaxGgufSize);
}

void add_llama_keys(KeyBuilder& b) {
  const auto head_dim = llama_head_dim(b.config);
  const auto heads = b.size("num_attention_heads", 32);
  b.add_size("vocab_size", "vocab_size", 32000);
  b.add_size("context_length", "max_position_embeddings", 2048);
  b.add_size("embedding_length", "hidden_size", 4096);
  b.add_size("block_count", "num_hidden_layers", 32);
  b.add_size("feed_forward_length", "intermediate_size", 11008);
  b.add("attention.head_count", u32(heads));
  b.add("attention.head_count_kv", u32(b.size("num_key_value_heads", heads)));
  b.add("attention.key_length", u32(head_dim));
  b.add("attention.value_length", u32(head_dim));
  b.add_number("attention.layer_norm_rms_epsilon", "rms_norm_eps", 1e-6);
  b.add("rope.dimension_count", u32(head_dim));
  b.add("rope.freq_base", static_cast<float>(rope_theta(b.config)));
  const JsonReader rope = rope_group(b.config);
  const std::string type = rope_type(rope);
  if (type == "linear") {
    b.add("rope.scaling.type", std::string("linear"));
    b.add("rope.scaling.factor", static_cast<float>(rope.positive("factor", 1)));
  } else if (type == "llama3") {  // next to rope_freqs.weight
    b.add("rope.scaling.original_context_length",
          u32(rope.integer("original_max_position_embeddings", 8192, 1, kMaxGgufSize)));
  } else if (type != "default") {
    rope.refuse(rope.has("rope_type") ? "rope_type" : "type", "default, linear, llama3");
  }
}

void add_bert_keys(KeyBuilder& b) {
  if (b.config.text("hidden_act", "gelu") != "gelu") b.config.refuse("hidden_act", "gelu");
  b.add_size("vocab_size", "vocab_size", 30522);
  b.add_size("context_length", "max_position_embeddings", 512);
  b.add_size("embedding_length", "hidden_size", 768);
  b.add_size("block_count", "num_hidden_layers", 12);
  b.add_size("feed_forward_length", "intermediate_size", 3072);
  b.add_size("attention.head_count", "num_attention_heads", 12);
  b.add_number("attention.layer_norm_epsilon", "layer_norm_eps", 1e-12);
  b.add("attention.causal", false);
  b.add("pooling_type", std::uint32_t{1});  // mean; llama.cpp wants one of them named
}

void add_mamba_keys(KeyBuilder& b) {
  if (b.config.flag("use_bias", false)) b.config.refuse("use_bias", "false (GGUF has no place)");
  const auto hidden = b.size("hidden_size", 768);
  const auto inner = b.size("intermediate_size", b.size("expand", 2) * hidden);
  const auto given = b.config.find("time_step_rank");
  const bool is_auto = !given || given->value() == "auto";
  b.add_size("vocab_size", "vocab_size", 50280);
  b.add("context_length", std::uint32_t{1} << 20);  // none; llama.cpp's converter writes this
  b.add("embedding_length", u32(hidden));
  b.add("feed_forward_length", std::uint32_t{0});
  b.add("attention.head_count", std::uint32_t{0});
  b.add_size("block_count", "num_hidden_layers", 32);
  b.add_size("ssm.conv_kernel", "conv_kernel", 4);
  b.add("ssm.inner_size", u32(inner));
  b.add_size("ssm.state_size", "state_size", 16);
  b.add("ssm.time_step_rank", u32(is_auto ? (hidden + 15) / 16 : b.size("time_step_rank", 1)));
  b.add_number("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", 1e-5);
  b.add("ssm.dt_b_c_rms", false);
}

// llama.cpp's number for "most tensors are of this type".
std::uint32_t file_type_number(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return 0;
    case ElementType::kF16:
      return 1;
    case ElementType::kQ40:
      return 2;
    case ElementType::kQ80:
      return 7;
    case ElementType::kBf16:
      return 32;
    default:
      throw std::invalid_argument("gguf_model_keys: no file is mostly of type " +
                                  std::string(element_type_name(type)));
  }
}

TensorTransform transform_of(const Json& config, std::string_view name, TransformKind rows,
                             TransformKind a_log) {
  if (name.ends_with(".mixer.A_log")) return {.kind = a_log};
  const bool is_query = name.find(".self_attn.q_proj.") != std::string_view::npos;
  if (!is_query && name.find(".self_attn.k_proj.") == std::string_view::npos) return {};
  const JsonReader reader(config, "config.json");
  const auto heads = reader.integer("num_attention_heads", 32, 1, kMaxGgufSize);
  return {.kind = rows,
          .num_heads =
              is_query ? heads : reader.integer("num_key_value_heads", heads, 1, kMaxGgufSize)};
}

}  // namespace

Json config_from_gguf(const GgufFile& file) {
  const GgufConfig gguf(file);
  Json config;
  if (gguf.architecture() == "llama") {
    config = llama_from_gguf(gguf);
  } else if (gguf.architecture() == "bert") {
    config = bert_from_gguf(gguf);
  } else if (gguf.architecture() == "mamba") {
    config = mamba_from_gguf(gguf);
  } else {
    gguf.refuse("general.architecture", "'" + gguf.architecture() + "'", "llama, bert, mamba");
  }
  gguf.add_token_ids(config);
  return config;
}

std::optional<std::string> hugging_face_name(const std::string& architecture,
                                             const std::string& gguf_name) {
  for (const auto& pair : names_of(architecture)) {
    if (auto name = rename(gguf_name, pair.gguf, pair.hugging_face)) return name;
  }
  return std::nullopt;
}

std::optional<std::string> gguf_name(const std::string& architecture, const std::string& name) {
  const std::string_view plain = architecture == "bert" ? without_bert(name) : name;
  for (const auto& pair : names_of(architecture)) {
    if (auto found = rename(plain, pair.hugging_face, pair.gguf)) return found;
  }
  return std::nullopt;
}

TensorTransform transform_from_gguf(const Json& config, const std::string& name) {
  return transform_of(config, name, TransformKind::kPairsToHalves, TransformKind::kLogOfMinus);
}

TensorTransform transform_to_gguf(const Json& config, const std::string& name) {
  return transform_of(config, name, TransformKind::kHalvesToPairs, TransformKind::kMinusExp);
}

GgufKeys gguf_model_keys(const Json& config, const std::string& source,
                         const std::string& model_name, ElementType file_type) {
  const std::string architecture = JsonReader(config, source).text("model_type", "");
  KeyBuilder builder(config, source, architecture);
  builder.keys = {{"general.architecture", architecture},
                  {"general.type", std::string("model")},
                  {"general.name", model_name},
                  {"general.file_type", file_type_number(file_type)},
                  {"general.quantization_version", std::uint32_t{2}}};
  if (architecture == "llama") {
    add_llama_keys(builder);
  } else if (architecture == "bert") {
    add_bert_keys(builder);
  } else if (architecture == "mamba") {
    add_mamba_keys(builder);
  } else {
    builder.config.refuse("model_type", "llama, bert, mamba");
  }
  return std::move(builder.keys);
}

std::vector<float> gguf_rope_divisors(const Json& config) {
  const JsonReader reader(config, "config.json");
  if (reader.text("model_type", "") != "llama") return {};
  const JsonReader rope = rope_group(reader);
  if (rope_type(rope) != "llama3") return {};
  const Llama3Rope settings = {.factor = rope.positive("factor", 8),
                               .low_freq_factor = rope.positive("low_freq_factor", 1),
                               .high_freq_factor = rope.positive("high_freq_factor", 4),
                               .original_max_positions = static_cast<double>(rope.integer(
                                   "original_max_position_embeddings", 8192, 1, kMaxGgufSize))};
  return rope_divisors(settings, rope_theta(reader), llama_head_dim(reader));
}

bool stays_f32(const std::string& gguf_name, std::span<const std::int64_t> shape) {
  return shape.size() < 2 || gguf_name.find(".ssm_conv1d.") != std::string::npos ||
         gguf_name.ends_with(".ssm_a") || gguf_name.starts_with("position_embd.") ||
         gguf_name.starts_with("token_types.");
}

}  // namespace lowbank
