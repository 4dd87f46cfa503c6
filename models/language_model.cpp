#include "models/language_model.h"

#include <set>

#include <c10/util/Exception.h>

namespace lowbank {
namespace {

// The parameters that adapters hold themselves, as identities of tensors.
std::set<const void*> adapter_tensors(const LanguageModel& model) {
  std::set<const void*> tensors;
  for (const auto& slot : model.slots()) {
    for (const Linear* layer : slot.layers()) {
      if (!layer->is_adapter()) continue;
      for (const auto& parameter : layer->parameters()) {
        tensors.insert(parameter.unsafeGetTensorImpl());
      }
      if (layer->base() == nullptr) continue;
      for (const auto& parameter : layer->base()->parameters()) {
        tensors.erase(parameter.unsafeGetTensorImpl());
      }
    }
  }
  return tensors;
}

NamedTensors stored_parameters(const LanguageModel& model, bool of_adapters) {
  const auto adapters = adapter_tensors(model);
  NamedTensors out;
  for (const auto& parameter : model.named_parameters()) {
    if (adapters.contains(parameter.value().unsafeGetTensorImpl()) != of_adapters) continue;
    out.emplace_back(stored_name(parameter.key()), parameter.value());
  }
  return out;
}

}  // namespace

std::int64_t count_parameters(const torch::nn::Module& model) {
  std::set<const void*> seen;
  std::int64_t total = 0;
  for (const auto& parameter : model.parameters()) {
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) total += parameter.numel();
  }
  return total;
}

NamedTensors base_parameters(const LanguageModel& model) {
  return stored_parameters(model, /*of_adapters=*/false);
}

NamedTensors adapter_parameters(const LanguageModel& model) {
  return stored_parameters(model, /*of_adapters=*/true);
}

void check_input(const ModelInput& input, const char* model) {
  const auto& ids_BT = input.ids_BT;
  TORCH_CHECK(ids_BT.dim() == 2 && ids_BT.scalar_type() == c10::kLong, model,
              ": ids must be [B, T] int64, got ", ids_BT.sizes(), " ", ids_BT.dtype());
  const auto& mask_BT = input.mask_BT;
  TORCH_CHECK(!mask_BT.defined() ||
                  (mask_BT.sizes() == ids_BT.sizes() && mask_BT.scalar_type() == c10::kBool),
              model, ": the mask must be ", ids_BT.sizes(), " bool, got ", mask_BT.sizes());
  const auto& types_BT = input.token_types_BT;
  TORCH_CHECK(!types_BT.defined() ||
                  (types_BT.sizes() == ids_BT.sizes() && types_BT.scalar_type() == c10::kLong),
              model, ": token types must be ", ids_BT.sizes(), " int64, got ", types_BT.sizes());
}

}  // namespace lowbank
