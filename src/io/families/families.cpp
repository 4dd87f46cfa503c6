#include "io/families/families.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/bert.h"
#include "io/families/llama.h"
#include "io/families/mamba.h"

namespace lowbank {

std::span<const ModelFamily> families() {
  static const ModelFamily kFamilies[] = {
      llama_family(),
      bert_family(),
      mamba_family(),
  };
  return kFamilies;
}

std::string family_names() {
  std::string names;
  for (const auto& family : families()) {
    if (!names.empty()) names += ", ";
    names += family.model_type;
  }
  return names;
}

const ModelFamily* find_family(std::string_view model_type) {
  for (const auto& family : families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

const ModelFamily& family_of(const nlohmann::ordered_json& config, const std::string& source) {
  const JsonReader reader(config, source);
  const ModelFamily* const family = find_family(reader.text("model_type", ""));
  if (family == nullptr) reader.refuse("model_type", family_names());
  return *family;
}

ParameterList model_parameters(const nlohmann::ordered_json& config, const std::string& source,
                               const HasParameter& has) {
  return family_of(config, source).parameters(config, source, has);
}

std::string current_name(const std::string& name) {
  for (const auto& [old_end, new_end] : {std::pair("LayerNorm.gamma", "LayerNorm.weight"),
                                         std::pair("LayerNorm.beta", "LayerNorm.bias")}) {
    if (name.ends_with(old_end)) {
      return name.substr(0, name.size() - std::string_view(old_end).size()) + new_end;
    }
  }
  return name;
}

bool is_buffer_name(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("embeddings.position_ids");
}

}  // namespace lowbank
