#include "io/gguf_model.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "io/families/families.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

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

void add_token_ids(const GgufFile& file, Json& config) {
  constexpr std::pair<const char*, const char*> kIds[] = {
      {"bos_token_id", "tokenizer.ggml.bos_token_id"},
      {"eos_token_id", "tokenizer.ggml.eos_token_id"},
      {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
  for (const auto& [name, key] : kIds) {
    if (file.has(key)) config[name] = file.integer(key);
  }
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

TensorTransform gguf_transform(const Json& config, const std::string& name,
                               GgufDirection direction) {
  const GgufMapping& gguf = family_of(config, "config.json").gguf;
  return gguf.transform == nullptr ? TensorTransform() : gguf.transform(config, name, direction);
}

}  // namespace

Json config_from_gguf(const GgufFile& file) {
  const GgufConfig gguf(file);
  if (!has_gguf(gguf.architecture())) {
    std::string supported;
    for (const auto& family : families()) {
      if (!has_gguf(family.model_type)) continue;
      if (!supported.empty()) supported += ", ";
      supported += family.model_type;
    }
    gguf.refuse("general.architecture", "'" + gguf.architecture() + "'", supported);
  }
  const GgufMapping& mapping = find_family(gguf.architecture())->gguf;
  warn_of_unknown_keys(file, gguf.architecture() + ".", mapping.keys);
  Json config = mapping.read_config(gguf);
  add_token_ids(file, config);
  return config;
}

bool has_gguf(std::string_view architecture) {
  const ModelFamily* const family = find_family(architecture);
  return family != nullptr && family->gguf.read_config != nullptr;
}

std::optional<std::string> hugging_face_name(const std::string& architecture,
                                             const std::string& gguf_name) {
  const ModelFamily* const family = find_family(architecture);
  if (family == nullptr) return std::nullopt;
  for (const auto& pair : family->gguf.names) {
    if (auto name = rename(gguf_name, pair.gguf, pair.hugging_face)) return name;
  }
  return std::nullopt;
}

std::optional<std::string> gguf_name(const std::string& architecture, const std::string& name) {
  const ModelFamily* const family = find_family(architecture);
  if (family == nullptr) return std::nullopt;
  std::string_view plain = name;
  if (plain.starts_with(family->gguf.prefix)) plain.remove_prefix(family->gguf.prefix.size());
  for (const auto& pair : family->gguf.names) {
    if (auto found = rename(plain, pair.hugging_face, pair.gguf)) return found;
  }
  return std::nullopt;
}

bool may_lack_in_gguf(const std::string& architecture, const std::string& name) {
  const ModelFamily* const family = find_family(architecture);
  return family != nullptr && family->gguf.may_lack != nullptr && family->gguf.may_lack(name);
}

TensorTransform transform_from_gguf(const Json& config, const std::string& name) {
  return gguf_transform(config, name, GgufDirection::kFromGguf);
}

TensorTransform transform_to_gguf(const Json& config, const std::string& name) {
  return gguf_transform(config, name, GgufDirection::kToGguf);
}

GgufKeys gguf_model_keys(const Json& config, const std::string& source,
                         const std::string& model_name, ElementType file_type) {
  const ModelFamily& family = family_of(config, source);
  const std::string architecture(family.model_type);
  GgufKeys keys = {{"general.architecture", architecture},
                   {"general.type", std::string("model")},
                   {"general.name", model_name},
                   {"general.file_type", file_type_number(file_type)},
                   {"general.quantization_version", std::uint32_t{2}}};
  GgufKeyBuilder builder(keys, architecture);
  family.gguf.add_keys(config, source, builder);
  return keys;
}

std::vector<float> gguf_rope_divisors(const Json& config) {
  const GgufMapping& gguf = family_of(config, "config.json").gguf;
  return gguf.rope_divisors == nullptr ? std::vector<float>() : gguf.rope_divisors(config);
}

bool stays_f32(const std::string& architecture, const std::string& gguf_name,
               std::span<const std::int64_t> shape) {
  if (shape.size() < 2) return true;
  const ModelFamily* const family = find_family(architecture);
  return family != nullptr &&
         std::ranges::any_of(family->gguf.names, [&](const GgufNamePair& pair) {
           return pair.stays_f32 && rename(gguf_name, pair.gguf, pair.gguf).has_value();
         });
}

}  // namespace lowbank
