#pragma once

#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "io/families/family.h"

namespace lowbank {

/// Every family, in the order in which errors list them.
std::span<const ModelFamily> families();
/// "llama, bert, mamba".
std::string family_names();
/// The family that this is the `model_type` of; nullptr if there is none.
const ModelFamily* find_family(std::string_view model_type);
/// The family of a config.json. Errors: ConfigError for a `model_type` that no family has.
const ModelFamily& family_of(const nlohmann::ordered_json& config, const std::string& source);

/// What a file must hold for this config.json (transformers 4.57's parameter names). `has` says
/// what the file at hand holds.
///
/// Errors: ConfigError for another model_type, for sizes out of range, and for settings that change
/// the result and are not supported.
ParameterList model_parameters(const nlohmann::ordered_json& config, const std::string& source,
                               const HasParameter& has = has_nothing);

/// The name that transformers gives this parameter today: files of TensorFlow's time call those of
/// a norm gamma and beta.
std::string current_name(const std::string& name);

/// True for tensors that models compute by themselves and old files hold all the same
/// (rotary_emb.inv_freq, position_ids).
bool is_buffer_name(std::string_view name);

}  // namespace lowbank
