#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "io/families/parameter_list.h"
#include "io/families/rotary_options.h"

namespace lowbank {

struct ModelFamily;
struct GgufMapping;

/// What config.json says about a Llama. Defaults are transformers' LlamaConfig.
struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t num_layers = 32;
  std::int64_t num_heads = 32;
  std::int64_t num_kv_heads = 32;
  std::int64_t head_dim = 128;
  std::int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  RotaryOptions rotary;
};

/// Reads and checks config.json of `model_type` llama; `source` names it in errors.
///
/// Errors: ConfigError for values out of range, sizes that do not fit together, and settings that
/// change the result and are not supported.
LlamaConfig read_llama_config(const nlohmann::ordered_json& config, const std::string& source);

/// Source: transformers 4.57 modeling_llama.py.
ParameterList llama_parameters(const LlamaConfig& config);

/// Source: ggml-org/llama.cpp convert_hf_to_gguf.py.
GgufMapping llama_gguf();
ModelFamily llama_family();

}  // namespace lowbank
