#include "io/families/config_rules.h"

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace lowbank {

std::int64_t read_size(const JsonReader& config, std::string_view key, std::int64_t otherwise) {
  return config.integer(key, otherwise, 1, kMaxModelSize);
}

std::int64_t read_num_layers(const JsonReader& config, std::int64_t otherwise) {
  return config.integer("num_hidden_layers", otherwise, 1, kMaxModelLayers);
}

void check_model_type(const JsonReader& config, std::string_view model_type) {
  const std::string expected(model_type);
  if (config.text("model_type", expected) != expected) config.refuse("model_type", expected);
  if (config.has("quantization_config")) config.refuse("quantization_config", "none");
}

void check_architecture(const JsonReader& config, std::string_view architecture) {
  const auto found = config.find("architectures");
  if (found && found->value() != nlohmann::ordered_json::array({std::string(architecture)})) {
    config.refuse("architectures", fmt::format("[\"{}\"]", architecture));
  }
}

void check_silu(const JsonReader& config) {
  if (config.text("hidden_act", "silu") != "silu") config.refuse("hidden_act", "silu");
}

}  // namespace lowbank
