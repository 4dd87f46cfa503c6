#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/randint.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "core/philox.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/svd_linear.h"

namespace lowbank::testing {

constexpr std::int64_t kVocab = 48;

/// A Llama with grouped heads and a tied head. Its weights are large enough that a wrong position
/// or mask changes the results visibly.
inline nlohmann::ordered_json tiny_config() {
  return {{"model_type", "llama"},         {"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", kVocab},          {"hidden_size", 32},
          {"intermediate_size", 40},       {"num_hidden_layers", 2},
          {"num_attention_heads", 4},      {"num_key_value_heads", 2},
          {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-5},
          {"initializer_range", 0.2},      {"tie_word_embeddings", true},
          {"torch_dtype", "float32"}};
}

/// A Llama with biases everywhere, a head of its own, and a head size other than hidden / heads.
inline nlohmann::ordered_json biased_config() {
  auto config = tiny_config();
  config["tie_word_embeddings"] = false;
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  config["head_dim"] = 6;
  return config;
}

inline std::shared_ptr<LanguageModel> tiny_llama(
    const nlohmann::ordered_json& config = tiny_config()) {
  auto model = make_random_model(config, RandomKey(1));
  model->eval();
  return model;
}

inline torch::Tensor random_ids(std::int64_t batch, std::int64_t num_tokens) {
  return at::randint(kVocab, {batch, num_tokens}, at::TensorOptions(c10::kLong));
}

/// Replaces every linear inside the blocks by its SVD at `rank`.
inline void factorize(LanguageModel& model, std::int64_t rank) {
  for (auto& slot : model.slots()) {
    if (slot.role() == LinearRole::kHead) continue;
    const auto dense = *slot.get().as_dense();
    const auto [u, s, vh] = at::linalg_svd(dense.weight_OI.detach(), /*full_matrices=*/false);
    const std::int64_t kept = std::min(rank, s.size(0));
    slot.replace(std::make_shared<SvdLinear>(
        u.narrow(1, 0, kept).clone(), s.narrow(0, 0, kept).clone(), vh.narrow(0, 0, kept).clone(),
        dense.bias_O.defined() ? dense.bias_O.detach().clone() : torch::Tensor()));
  }
}

}  // namespace lowbank::testing
