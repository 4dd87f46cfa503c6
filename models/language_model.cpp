#include "models/language_model.h"

#include <set>

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
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

// Ids are [B, T] int64; mask and token types, where given, fit them.
void check_input(const ModelInput& input) {
  const auto& ids_BT = input.ids_BT;
  TORCH_CHECK(ids_BT.dim() == 2 && ids_BT.scalar_type() == c10::kLong,
              "LanguageModel: ids must be [B, T] int64, got ", ids_BT.sizes(), " ", ids_BT.dtype());
  const auto& mask_BT = input.mask_BT;
  TORCH_CHECK(!mask_BT.defined() ||
                  (mask_BT.sizes() == ids_BT.sizes() && mask_BT.scalar_type() == c10::kBool),
              "LanguageModel: the mask must be ", ids_BT.sizes(), " bool, got ", mask_BT.sizes());
  const auto& types_BT = input.token_types_BT;
  TORCH_CHECK(!types_BT.defined() ||
                  (types_BT.sizes() == ids_BT.sizes() && types_BT.scalar_type() == c10::kLong),
              "LanguageModel: token types must be ", ids_BT.sizes(), " int64, got ",
              types_BT.sizes());
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

torch::Tensor LanguageModel::hidden_states(const ModelInput& input, DecodeState* state) {
  check_input(input);
  const std::int64_t num_tokens = input.ids_BT.size(1);
  BlockPass pass;
  pass.key = input.dropout_key;
  pass.mask_BS = input.mask_BT;
  if (state != nullptr) {
    TORCH_CHECK(is_causal(), "LanguageModel: an encoder keeps no state");
    TORCH_CHECK(static_cast<std::int64_t>(state->num_blocks()) == num_blocks(),
                "LanguageModel: the state was made by another model");
    state->check_room(input.ids_BT.size(0), num_tokens);
    pass.num_past = state->length();
    pass.has_state = true;
  }
  const c10::AutoGradMode grad_mode(state == nullptr && c10::GradMode::is_enabled());
  if (state != nullptr) pass.mask_BS = state->append_mask(input.mask_BT, num_tokens);
  auto x_BTD = embed(input, pass);
  for (std::int64_t i = 0; i < num_blocks(); ++i) x_BTD = block(i, x_BTD, pass, state);
  if (state != nullptr) state->advance(num_tokens);
  return finish(x_BTD);
}

std::unique_ptr<DecodeState> LanguageModel::make_state(const StateOptions& options) {
  TORCH_CHECK(is_causal(), "LanguageModel: an encoder keeps no state");
  TORCH_CHECK(options.batch >= 1 && options.max_length >= 1, "LanguageModel::make_state: batch ",
              options.batch, " and max_length ", options.max_length, " must be at least 1");
  // Usable in and out of inference mode, whatever mode it is made in.
  const c10::InferenceMode normal_tensors(false);
  std::vector<BlockState> blocks;
  for (std::int64_t i = 0; i < num_blocks(); ++i) blocks.push_back(make_block_state(options));
  return std::make_unique<DecodeState>(options, std::move(blocks));
}

BlockState LanguageModel::make_block_state(const StateOptions& /*options*/) { return {}; }

}  // namespace lowbank
