#include "bench/bench_case.h"

#include <nlohmann/json.hpp>

#include "models/language_model.h"
#include "pim/workload.h"

namespace lowbank {

double linear_flops(LanguageModel& model, std::int64_t batch, std::int64_t tokens) {
  double flops = 0;
  for (const auto& op : model.operators(pim::Phase::kPrefill, batch, tokens)) {
    if (op.kind == pim::OperatorKind::kLinear) flops += 2.0 * static_cast<double>(op.macs());
  }
  return flops;
}

nlohmann::ordered_json shape_config(const std::string& shape) {
  // Source: config.json of HuggingFaceTB/SmolLM2-135M, sentence-transformers/all-MiniLM-L6-v2 (with
  // a classifier of two labels) and state-spaces/mamba-130m-hf.
  if (shape == "smollm2-135m") {
    return {{"model_type", "llama"},      {"vocab_size", 49152},
            {"hidden_size", 576},         {"intermediate_size", 1536},
            {"num_hidden_layers", 30},    {"num_attention_heads", 9},
            {"num_key_value_heads", 3},   {"max_position_embeddings", 8192},
            {"rms_norm_eps", 1e-5},       {"rope_theta", 100000.0},
            {"tie_word_embeddings", true}};
  }
  if (shape == "minilm-l6") {
    return {{"model_type", "bert"},     {"architectures", {"BertForSequenceClassification"}},
            {"vocab_size", 30522},      {"hidden_size", 384},
            {"num_hidden_layers", 6},   {"num_attention_heads", 12},
            {"intermediate_size", 1536}};
  }
  return {{"model_type", "mamba"},
          {"vocab_size", 50280},
          {"hidden_size", 768},
          {"num_hidden_layers", 24}};
}

}  // namespace lowbank
