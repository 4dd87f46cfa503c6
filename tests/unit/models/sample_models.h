#pragma once

#include <string>
#include <vector>

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

/// A model of every causal family, two where config.json asks for parts that exclude each other: the
/// tests of decoding, axes and operators go through them.
inline std::vector<nlohmann::ordered_json> causal_samples() {
  return {tiny_config(), biased_config(), small_mamba()};
}

/// causal_samples() and encoders with every kind of head.
inline std::vector<nlohmann::ordered_json> sample_models() {
  auto samples = causal_samples();
  for (const auto* architecture :
       {"BertModel", "BertForPreTraining", "BertForSequenceClassification"}) {
    samples.push_back(small_bert(architecture));
  }
  return samples;
}

}  // namespace lowbank::testing
