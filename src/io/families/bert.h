#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "io/families/activation.h"
#include "io/families/parameter_list.h"

namespace lowbank {

struct ModelFamily;
struct GgufMapping;

/// What stands on top of the encoder: the class that config.json's `architectures` names.
enum class BertHead {
  kNone,               ///< BertModel
  kMaskedToken,        ///< BertForMaskedLM
  kPreTraining,        ///< BertForPreTraining: masked tokens, and whether one text follows another
  kSequenceClassifier  ///< BertForSequenceClassification; one label is a regression
};

/// What config.json says about a BERT. Defaults are transformers' BertConfig.
struct BertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t num_layers = 12;
  std::int64_t num_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::int64_t max_positions = 512;
  std::int64_t num_token_types = 2;
  std::int64_t num_labels = 2;
  double layer_norm_eps = 1e-12;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  double classifier_dropout = 0.1;
  bool tie_word_embeddings = true;
  ActivationKind hidden_act = ActivationKind::kGelu;
  BertHead head = BertHead::kNone;
};

/// Reads and checks config.json of `model_type` bert; `source` names it in errors.
///
/// Errors: ConfigError for values out of range, sizes that do not fit together, and settings that
/// change the result and are not supported.
BertConfig read_bert_config(const nlohmann::ordered_json& config, const std::string& source);

/// The encoder and all heads, each head a part of its own. Names begin with "bert." below a head,
/// and without one where `has` knows the word embeddings under that name: files of BertModel have
/// nothing in front.
///
/// Source: transformers 4.57 modeling_bert.py.
ParameterList bert_parameters(const BertConfig& config, const HasParameter& has);

/// Source: ggml-org/llama.cpp convert_hf_to_gguf.py.
GgufMapping bert_gguf();
ModelFamily bert_family();

}  // namespace lowbank
