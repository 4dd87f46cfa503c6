#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// True for the config.json of the original state-spaces/mamba release (d_model, n_layer).
bool is_state_spaces_config(const nlohmann::ordered_json& config);

/// Translates the config.json of a state-spaces model into Hugging Face's (transformers 4.57,
/// MambaForCausalLM). `source` names the file in errors.
///
/// Source:  state-spaces/mamba mamba_ssm/models/config_mamba.py and modules/mamba_simple.py (the
///          defaults); transformers convert_mamba_ssm_checkpoint_to_pytorch.py.
/// Errors:  ConfigError naming the key for a setting that changes the result and is not supported
///          (Mamba-2, attention layers, LayerNorm).
nlohmann::ordered_json state_spaces_to_hugging_face(const nlohmann::ordered_json& config,
                                                    const std::string& source);

/// Hugging Face's name for a parameter of a state-spaces model.
std::string state_spaces_name(const std::string& name);

}  // namespace lowbank
