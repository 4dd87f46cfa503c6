#include "io/families/activation.h"

#include <utility>

#include "core/json_reader.h"

namespace lowbank {

ActivationKind read_activation(const JsonReader& config, const char* key,
                               const std::string& otherwise) {
  constexpr std::pair<const char*, ActivationKind> kNames[] = {
      {"gelu", ActivationKind::kGelu},          {"gelu_python", ActivationKind::kGelu},
      {"gelu_new", ActivationKind::kGeluTanh},  {"gelu_pytorch_tanh", ActivationKind::kGeluTanh},
      {"gelu_fast", ActivationKind::kGeluTanh}, {"relu", ActivationKind::kRelu},
      {"silu", ActivationKind::kSilu},          {"swish", ActivationKind::kSilu},
      {"tanh", ActivationKind::kTanh}};
  const std::string given = config.text(key, otherwise);
  for (const auto& [name, kind] : kNames) {
    if (name == given) return kind;
  }
  config.refuse(key,
                "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_python, relu, silu, "
                "swish, tanh");
}

}  // namespace lowbank
