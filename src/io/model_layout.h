#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// A parameter of a model, under its Hugging Face name.
struct ParameterSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  /// "" for one that every such model has; else the part it belongs to ("pooler", "MLM head"),
  /// which a file has whole or not at all.
  std::string part = {};
};

/// The parameters that a config.json calls for.
struct ModelLayout {
  std::string model_type;  ///< llama | bert | mamba
  std::vector<ParameterSpec> parameters;
  /// (name, original): the model uses `original` in place of `name`, which a file may hold all the
  /// same.
  std::vector<std::pair<std::string, std::string>> ties;
};

/// What a file must hold for this config.json (transformers 4.57's parameter names).
///
/// Of BERT, encoder names begin with "bert." unless `bert_prefix` is false (files of BertModel).
/// Errors: ConfigError for another model_type and for sizes that are out of range.
ModelLayout model_layout(const nlohmann::ordered_json& config, const std::string& source,
                         bool bert_prefix = true);

/// The name that transformers gives this parameter today: files of TensorFlow's time call those of
/// a norm gamma and beta.
std::string current_name(const std::string& name);

/// True for tensors that models compute by themselves and old files hold all the same
/// (rotary_emb.inv_freq, position_ids).
bool is_buffer_name(std::string_view name);

}  // namespace lowbank
