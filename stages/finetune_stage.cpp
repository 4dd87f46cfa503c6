#include "stages/finetune_stage.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/error.h"
#include "core/log.h"
#include "data/length_batches.h"
#include "data/sentence_table.h"
#include "models/language_model.h"
#include "stages/runtime_options.h"
#include "stages/training.h"
#include "train/sentence_examples.h"
#include "train/text_examples.h"

namespace lowbank {
namespace {

/// A value of the key `objective`, the head that it trains, and the models that have such a head.
struct ObjectiveKind {
  const char* name;
  HeadKind head;
  const char* needs;
};

constexpr ObjectiveKind kObjectives[] = {
    {"next_token", HeadKind::kNextToken, "a causal language model (Llama, Mamba)"},
    {"masked_lm", HeadKind::kMaskedToken,
     "a masked language model (BertForMaskedLM or BertForPreTraining)"},
    {"classification", HeadKind::kSequence, "an encoder (BERT)"}};

const ObjectiveKind& find_objective(const std::string& name, const LoadedModel& loaded) {
  const HeadKind head = loaded.model->head_kind();
  for (const auto& kind : kObjectives) {
    if (name == "auto" ? kind.head != head : kind.name != name) continue;
    if (kind.head == head) return kind;
    throw ConfigError(fmt::format(
        "{}: objective {} needs {}; this is {}", loaded.folder, name, kind.needs,
        loaded.model->config().value("architectures", nlohmann::ordered_json::array()).dump()));
  }
  throw ConfigError(
      fmt::format("{}: this encoder has no head to train; set objective to classification, which "
                  "gives it one",
                  loaded.folder));
}

TrainingSet masked_token_set(const FinetuneConfig& config, const tokenizers::Tokenizer& tokenizer,
                             const RandomKey& key) {
  TrainingSet set;
  const auto open = [&](const std::string& file, const char* draws, std::int64_t max_examples) {
    return std::make_shared<MaskedTokenExamples>(file, tokenizer, config.data.context,
                                                 key.derive(draws), max_examples);
  };
  set.objective = std::make_unique<TokenObjective>();
  set.source = std::make_unique<ShuffledSource>(open(config.data.train, "masks", 0),
                                                batch_shape(config.train), key.derive("epochs"));
  if (!config.data.valid.empty()) {
    const auto valid = open(config.data.valid, "held_out_masks", config.train.eval_max_chunks);
    set.held_out.emplace(valid, held_out_batches(valid->size(), config.train));
  }
  return set;
}

SentenceTask sentence_task(const TableConfig& table) {
  return {.name = "table",
          .first_column = table.sentence,
          .second_column = table.second_sentence,
          .label_column = table.label,
          .classes = table.classes};
}

TrainingSet sentence_set(const FinetuneConfig& config, const LanguageModel& model,
                         const tokenizers::Tokenizer& tokenizer, const RandomKey& key) {
  const auto task = sentence_task(config.table);
  const auto open = [&](const std::string& file, std::int64_t limit) {
    return std::make_shared<SentenceExamples>(task, read_sentences(task, file, limit), tokenizer,
                                              config.data.context, model.num_token_types());
  };
  TrainingSet set;
  set.objective = std::make_unique<SequenceObjective>();
  const auto train = open(config.data.train, 0);
  set.source = std::make_unique<LengthGroupedSource>(
      train, train->lengths(), batch_shape(config.train), key.derive("epochs"));
  if (!config.data.valid.empty()) {
    const auto valid = open(config.data.valid, config.train.eval_max_chunks);
    set.held_out.emplace(valid,
                         length_sorted_batches(valid->lengths(), config.train.micro_batch_size));
  }
  return set;
}

}  // namespace

void finetune_stage(const FinetuneConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const RandomKey seed(static_cast<std::uint64_t>(config.common.seed));
  const auto key = seed.derive("train");
  const auto loaded = config.objective == "classification"
                          ? load_classifier(config.checkpoint, config.table.classes,
                                            seed.derive("new_head"), device, runtime.type)
                          : load_model(config.checkpoint, device, runtime.type);
  auto& model = *loaded.model;
  const HeadKind head = find_objective(config.objective, loaded).head;
  const auto tokenizer = open_train_tokenizer(loaded, config.data.context);
  TrainingSet set;
  if (head == HeadKind::kNextToken) {
    set = next_token_set(open_train_texts(config.data, *tokenizer, config.train.eval_max_chunks),
                         config.train, key);
  } else if (head == HeadKind::kMaskedToken) {
    set = masked_token_set(config, *tokenizer, key);
  } else {
    check_labels(loaded, config.table.classes);
    set = sentence_set(config, model, *tokenizer, key);
  }
  const ResumePoint point(out->path(), config, config.resume);
  out->begin();
  const auto result = run_training(model, set, config.train, key, *out, point);
  save_model(out->path("checkpoint"), loaded,
             {.stage = "finetune", .settings_hash = point.settings_hash(), .version = version()});
  point.remove();
  metrics = to_json(training_metrics(result, model).fields());
  print_scores(result, config.data.valid);
  note("checkpoint: {}", out->path("checkpoint"));
}

}  // namespace lowbank
