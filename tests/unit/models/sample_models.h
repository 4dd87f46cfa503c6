#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "tiny_llama.h"

namespace lowbank::testing {

inline nlohmann::ordered_json small_bert(const std::string& architecture) {
  return {{"model_type", "bert"},     {"architectures", {architecture}}, {"vocab_size", kVocab},
          {"hidden_size", 32},        {"num_hidden_layers", 2},          {"num_attention_heads", 4},
          {"intermediate_size", 40},  {"max_position_embeddings", 16},   {"num_labels", 3},
          {"initializer_range", 0.2}, {"torch_dtype", "float32"}};
}

inline nlohmann::ordered_json small_mamba() {
  return {{"model_type", "mamba"},   {"architectures", {"MambaForCausalLM"}},
          {"vocab_size", kVocab},    {"hidden_size", 32},
          {"num_hidden_layers", 2},  {"state_size", 5},
          {"use_bias", true},        {"initializer_range", 0.2},
          {"torch_dtype", "float32"}};
}

}  // namespace lowbank::testing
