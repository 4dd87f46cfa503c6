#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "io/families/parameter_list.h"

namespace lowbank {

struct ModelFamily;
struct GgufMapping;

/// What config.json says about a Mamba. Defaults are transformers' MambaConfig.
struct MambaConfig {
  std::int64_t vocab_size = 50280;
  std::int64_t hidden_size = 768;
  std::int64_t num_layers = 32;
  std::int64_t state_size = 16;
  std::int64_t inner_size = 1536;  ///< channels: expand x hidden_size
  std::int64_t conv_kernel = 4;
  std::int64_t time_step_rank = 48;
  double layer_norm_eps = 1e-5;
  bool use_bias = false;
  bool use_conv_bias = true;
  bool residual_in_fp32 = true;
  bool tie_word_embeddings = true;
};

/// Reads and checks config.json of `model_type` mamba; `source` names it in errors.
///
/// Errors: ConfigError for values out of range, sizes that do not fit together, and settings that
/// change the result and are not supported.
MambaConfig read_mamba_config(const nlohmann::ordered_json& config, const std::string& source);

/// Source: transformers 4.57 modeling_mamba.py; for how A_log, D and the time steps begin, Gu and
///         Dao 2023, section 3.6.
ParameterList mamba_parameters(const MambaConfig& config);

/// Source: ggml-org/llama.cpp convert_hf_to_gguf.py.
GgufMapping mamba_gguf();
ModelFamily mamba_family();

}  // namespace lowbank
