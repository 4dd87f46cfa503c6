#include "stages/evaluate_stage.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/choose.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "eval/generate.h"
#include "eval/perplexity.h"
#include "eval/sentence_similarity.h"
#include "io/sentence_encoder.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "stages/perplexity_options.h"
#include "stages/runtime_options.h"

namespace lowbank {
namespace {

// Of a sentence, for encoders that say nothing about it.
constexpr std::int64_t kSentenceTokens = 128;

void evaluate_perplexity(const EvaluateConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_causal_model(config.checkpoint, device, runtime.type);
  const auto tokenizer = tokenizers::open_tokenizer(loaded.folder);
  check_vocabulary(*tokenizer, *loaded.model, loaded.folder);
  const auto options = perplexity_options(config.perplexity);
  const auto text = open_perplexity_text(config.perplexity.data, options, *tokenizer,
                                         loaded.model->max_context());
  if (out != nullptr) out->begin();

  const auto result =
      score_text(*loaded.model, text, config.perplexity.batch_size, /*show_progress=*/true);
  PerplexityMetrics figures = perplexity_metrics(result, text, options);
  metrics.update(to_json(figures.fields()));
  lowbank::print("perplexity {:.4f} per token over {} predicted tokens ({} chunks of context {})",
                 figures.perplexity, group_digits(result.num_predicted),
                 group_digits(static_cast<std::int64_t>(text.windows.size())),
                 config.perplexity.context);
  lowbank::print("{:.4f} bits per byte, perplexity {:.4f} per word; {:.0f} tokens/s",
                 figures.bits_per_byte, figures.word_perplexity, figures.tokens_per_second);
}

void evaluate_sts_b(const EvaluateConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_model(config.checkpoint, device, runtime.type);
  if (loaded.model->is_causal()) {
    throw ConfigError(
        fmt::format("{}: task sts-b needs an encoder (BERT); this model predicts the next token",
                    loaded.folder));
  }
  const auto tokenizer = tokenizers::open_tokenizer(loaded.folder);
  check_vocabulary(*tokenizer, *loaded.model, loaded.folder);
  using Pooling = SentenceEncoder::Pooling;
  const std::initializer_list<std::pair<std::string_view, Pooling>> poolings = {
      {"mean", Pooling::kMean}, {"cls", Pooling::kCls}, {"max", Pooling::kMax}};
  SentenceEncoder encoder;
  encoder.max_tokens = kSentenceTokens;
  if (config.pooling == "auto") {
    if (const auto described = read_sentence_encoder(loaded.folder)) encoder = *described;
  } else {
    encoder.pooling = choose<Pooling>(config.pooling, poolings);
  }
  const auto pairs = open_sentence_pairs(config.perplexity.data, config.limit, *tokenizer, encoder,
                                         loaded.model->max_context());
  if (out != nullptr) out->begin();
  const auto key = RandomKey(static_cast<std::uint64_t>(config.common.seed)).derive("bootstrap");
  evaluate_sentence_pairs(*loaded.model, pairs, encoder.pooling, config.sentence_batch_size, key,
                          metrics);
  for (const auto& [name, pooling] : poolings) {
    if (pooling == encoder.pooling) metrics["pooling"] = name;
  }
  metrics["limit"] = config.limit;
}

}  // namespace

void evaluate_stage(const EvaluateConfig& config, RunDir* out, Metrics& metrics) {
  metrics["task"] = config.task;
  if (config.task == "sts-b") return evaluate_sts_b(config, out, metrics);
  evaluate_perplexity(config, out, metrics);
}

}  // namespace lowbank
