#include "io/families/bert.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/config_rules.h"
#include "io/families/family.h"

namespace lowbank {
namespace {

BertHead read_bert_head(const JsonReader& config) {
  const auto found = config.find("architectures");
  if (!found) return BertHead::kNone;
  constexpr std::pair<const char*, BertHead> kHeads[] = {
      {"BertModel", BertHead::kNone},
      {"BertForMaskedLM", BertHead::kMaskedToken},
      {"BertForPreTraining", BertHead::kPreTraining},
      {"BertForSequenceClassification", BertHead::kSequenceClassifier}};
  for (const auto& [name, head] : kHeads) {
    if (found->value() == nlohmann::ordered_json::array({name})) return head;
  }
  config.refuse("architectures",
                "one of BertModel, BertForMaskedLM, BertForPreTraining, "
                "BertForSequenceClassification");
}

double read_dropout(const JsonReader& config, const char* key, double otherwise) {
  const auto found = config.find(key);
  if (!found) return otherwise;
  const auto& value = found->value();
  const double probability = value.is_number() ? value.get<double>() : -1.0;
  if (!(probability >= 0.0 && probability < 1.0)) config.refuse(key, "a number in [0, 1)");
  return probability;
}

}  // namespace

BertConfig read_bert_config(const nlohmann::ordered_json& json, const std::string& source) {
  const JsonReader config(json, source);
  check_model_type(config, "bert");
  BertConfig c;
  c.head = read_bert_head(config);
  if (config.text("position_embedding_type", "absolute") != "absolute") {
    config.refuse("position_embedding_type", "absolute");
  }
  for (const auto* key : {"is_decoder", "add_cross_attention"}) {
    if (config.flag(key, false)) config.refuse(key, "false");
  }
  if (const auto found = config.find("pruned_heads"); found && !found->value().empty()) {
    config.refuse("pruned_heads", "none");
  }
  c.vocab_size = read_size(config, "vocab_size", c.vocab_size);
  c.hidden_size = read_size(config, "hidden_size", c.hidden_size);
  c.num_layers = read_num_layers(config, c.num_layers);
  c.num_heads = read_size(config, "num_attention_heads", c.num_heads);
  c.intermediate_size = read_size(config, "intermediate_size", c.intermediate_size);
  c.max_positions = read_size(config, "max_position_embeddings", c.max_positions);
  c.num_token_types = read_size(config, "type_vocab_size", c.num_token_types);
  c.layer_norm_eps = config.positive("layer_norm_eps", c.layer_norm_eps);
  c.tie_word_embeddings = config.flag("tie_word_embeddings", c.tie_word_embeddings);
  c.hidden_act = read_activation(config, "hidden_act", "gelu");
  c.hidden_dropout = read_dropout(config, "hidden_dropout_prob", c.hidden_dropout);
  c.attention_dropout = read_dropout(config, "attention_probs_dropout_prob", c.attention_dropout);
  c.classifier_dropout = read_dropout(config, "classifier_dropout", c.hidden_dropout);
  // transformers derives the number of labels from the names of the labels.
  const auto labels = config.find("id2label");
  if (labels && labels->is_object() && !labels->value().empty()) {
    c.num_labels = static_cast<std::int64_t>(labels->value().size());
  } else {
    c.num_labels = read_size(config, "num_labels", c.num_labels);
  }
  if (c.hidden_size % c.num_heads != 0) {
    config.refuse("hidden_size", fmt::format("multiples of num_attention_heads = {}", c.num_heads));
  }
  return c;
}

ParameterList bert_parameters(const BertConfig& c, const HasParameter& has) {
  ParameterList list;
  const auto linear = [&](const std::string& path, std::int64_t out, std::int64_t in) {
    list.add_linear(path, out, in, /*has_bias=*/true);
  };
  const auto norm = [&](const std::string& path) {
    list.add_norm(path, c.hidden_size, /*has_bias=*/true);
  };
  const bool has_prefix =
      c.head != BertHead::kNone || has("bert.embeddings.word_embeddings.weight");
  const std::string prefix = has_prefix ? "bert." : "";
  const std::string embeddings = prefix + "embeddings.";
  list.add_matrix(embeddings + "word_embeddings", c.vocab_size, c.hidden_size);
  list.add_matrix(embeddings + "position_embeddings", c.max_positions, c.hidden_size);
  list.add_matrix(embeddings + "token_type_embeddings", c.num_token_types, c.hidden_size);
  norm(embeddings + "LayerNorm");
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = fmt::format("{}encoder.layer.{}.", prefix, i);
    for (const auto* name : {"query", "key", "value"}) {
      linear(layer + "attention.self." + name, c.hidden_size, c.hidden_size);
    }
    linear(layer + "attention.output.dense", c.hidden_size, c.hidden_size);
    norm(layer + "attention.output.LayerNorm");
    linear(layer + "intermediate.dense", c.intermediate_size, c.hidden_size);
    linear(layer + "output.dense", c.hidden_size, c.intermediate_size);
    norm(layer + "output.LayerNorm");
  }
  list.part = "pooler";
  linear(prefix + "pooler.dense", c.hidden_size, c.hidden_size);
  list.part = "MLM head";
  list.add("cls.predictions.bias", {c.vocab_size}, Initialisation::kZeros);
  linear("cls.predictions.transform.dense", c.hidden_size, c.hidden_size);
  norm("cls.predictions.transform.LayerNorm");
  if (c.tie_word_embeddings) {
    list.ties.emplace_back("cls.predictions.decoder.weight", embeddings + "word_embeddings.weight");
  } else {
    list.add_matrix("cls.predictions.decoder", c.vocab_size, c.hidden_size);
  }
  list.ties.emplace_back("cls.predictions.decoder.bias", "cls.predictions.bias");
  list.part = "next-sentence head";
  linear("cls.seq_relationship", 2, c.hidden_size);
  list.part = "classifier";
  linear("classifier", c.num_labels, c.hidden_size);
  return list;
}

ModelFamily bert_family() {
  return {.model_type = "bert",
          .parameters =
              [](const nlohmann::ordered_json& config, const std::string& source,
                 const HasParameter& has) {
                return bert_parameters(read_bert_config(config, source), has);
              },
          .gguf = bert_gguf()};
}

}  // namespace lowbank
