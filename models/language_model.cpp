#include "models/language_model.h"

#include <set>

#include <c10/util/Exception.h>

namespace lowbank {

std::int64_t count_parameters(const torch::nn::Module& model) {
  std::set<const void*> seen;
  std::int64_t total = 0;
  for (const auto& parameter : model.parameters()) {
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) total += parameter.numel();
  }
  return total;
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
