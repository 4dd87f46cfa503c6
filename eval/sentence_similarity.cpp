#include "eval/sentence_similarity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stats.h"
#include "core/text.h"
#include "data/glue.h"
#include "data/length_batches.h"
#include "models/language_model.h"
#include "tokenizers/unicode.h"

namespace lowbank {
namespace {

// Cosines [S / 2] of rows 2 i and 2 i + 1, in double.
std::vector<double> pair_cosines(const torch::Tensor& vectors_SD) {
  const auto pairs = vectors_SD.to(at::kDouble).view({-1, 2, vectors_SD.size(1)});
  const auto a = pairs.select(1, 0), b = pairs.select(1, 1);
  const auto cosine =
      ((a * b).sum(-1) / (at::linalg_vector_norm(a, 2, -1) * at::linalg_vector_norm(b, 2, -1)))
          .contiguous();
  const auto* const values = cosine.const_data_ptr<double>();
  return {values, values + cosine.numel()};
}

using Correlation = double (*)(std::span<const double>, std::span<const double>);

// Adds the correlation of cosines and scores as `name`, and its standard error as `name`_stderr.
void report_correlation(const char* name, Correlation correlation,
                        const std::vector<double>& cosines, const std::vector<double>& scores,
                        const RandomKey& key, Metrics& metrics) {
  const auto of_sample = [&](std::span<const std::int64_t> indices) {
    std::vector<double> a, b;
    for (const auto i : indices) {
      a.push_back(cosines[static_cast<std::size_t>(i)]);
      b.push_back(scores[static_cast<std::size_t>(i)]);
    }
    return correlation(a, b);
  };
  metrics[name] = correlation(cosines, scores);
  metrics[fmt::format("{}_stderr", name)] =
      bootstrap_stderr(of_sample, static_cast<std::int64_t>(scores.size()), key);
}

std::string lower(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    tokenizers::append_lower(out, tokenizers::next_code_point(text, at));
  }
  return out;
}

// [B, D] of hidden states [B, T, D]; mask [B, T], or undefined without padding.
torch::Tensor pool(const torch::Tensor& hidden_BTD, const torch::Tensor& mask_BT,
                   SentenceEncoder::Pooling pooling) {
  using Pooling = SentenceEncoder::Pooling;
  if (pooling == Pooling::kCls) return hidden_BTD.select(1, 0);  // padding is on the right
  const bool is_max = pooling == Pooling::kMax;
  if (!mask_BT.defined()) return is_max ? hidden_BTD.amax(1) : hidden_BTD.mean(1);
  const auto mask_BT1 = mask_BT.unsqueeze(-1);
  // Multiplying by the mask would not do: a hidden state at padding might be infinite.
  const auto filled = [&](double value) {
    return hidden_BTD.masked_fill(mask_BT1.logical_not(), value);
  };
  if (is_max) return filled(-std::numeric_limits<double>::infinity()).amax(1);
  return filled(0).sum(1) / mask_BT1.sum(1);
}

}  // namespace

SentencePairs open_sentence_pairs(const std::string& path, std::int64_t limit,
                                  const tokenizers::Tokenizer& tokenizer,
                                  const SentenceEncoder& encoder, std::int64_t max_context) {
  const auto examples = read_glue(glue_task("sts-b"), path, GlueSplit::kDev, limit);
  constexpr auto kAny = std::numeric_limits<std::int64_t>::max();
  const std::int64_t max_tokens =
      std::min(max_context > 0 ? max_context : kAny, encoder.max_tokens.value_or(kAny));
  SentencePairs out;
  out.path = path;
  out.pad_id = tokenizer.special_ids().pad.value_or(0);
  for (const auto& example : examples) {
    for (const auto* sentence : {&example.first, &example.second}) {
      const std::string text = encoder.lower_case ? lower(*sentence) : *sentence;
      out.sentences.push_back(tokenizer.encode_pair(text, std::nullopt, max_tokens));
      if (out.sentences.back().ids.empty()) {
        throw ConfigError(fmt::format("{}: the tokenizer makes no token of '{}'", path, *sentence));
      }
      out.num_tokens += static_cast<std::int64_t>(out.sentences.back().ids.size());
    }
    out.scores.push_back(example.label);
  }
  return out;
}

torch::Tensor pooled_vectors(LanguageModel& model,
                             const std::vector<tokenizers::PairEncoding>& sentences,
                             SentenceEncoder::Pooling pooling, std::int64_t pad_id,
                             std::int64_t batch_size, bool show_progress) {
  const c10::InferenceMode inference;
  const auto device = model.parameters().front().device();
  const auto batches = length_sorted_batches(sequence_lengths(sentences), batch_size);
  std::optional<ProgressBar> bar;
  if (show_progress) {
    bar.emplace("reading", static_cast<std::int64_t>(sentences.size()), "sentence");
  }
  torch::Tensor vectors_SD;
  std::int64_t num_done = 0;
  for (const auto& indices : batches) {
    if (interrupt_requested()) {
      throw Interrupted("stopped; nothing was saved, start the same command again");
    }
    const auto batch = pad_batch(sentences, indices, pad_id);
    const auto mask_BT = batch.mask_BT.defined() ? batch.mask_BT.to(device) : torch::Tensor();
    const auto hidden_BTD = model.hidden_states({batch.ids_BT.to(device), mask_BT}).to(at::kFloat);
    const auto pooled_BD = pool(hidden_BTD, mask_BT, pooling);
    if (!vectors_SD.defined()) {
      vectors_SD =
          at::empty({static_cast<std::int64_t>(sentences.size()), pooled_BD.size(1)}, at::kFloat);
    }
    vectors_SD.index_copy_(0, at::tensor(indices, at::kLong), pooled_BD.cpu());
    num_done += static_cast<std::int64_t>(indices.size());
    if (bar) bar->update(num_done);
  }
  if (!vectors_SD.isfinite().all().item<bool>()) {
    throw ResourceError(
        "the model's hidden states are not finite (NaN or infinite); its weights are damaged, or "
        "the dtype is too small for them");
  }
  return vectors_SD;
}

void evaluate_sentence_pairs(LanguageModel& model, const SentencePairs& pairs,
                             SentenceEncoder::Pooling pooling, std::int64_t batch_size,
                             const RandomKey& key, Metrics& metrics) {
  const auto [lowest, highest] = std::minmax_element(pairs.scores.begin(), pairs.scores.end());
  if (*lowest == *highest) {
    throw ConfigError(
        fmt::format("{}: the scores of its {} pairs are all {}: there is no correlation with them",
                    pairs.path, pairs.scores.size(), *lowest));
  }
  const auto start = std::chrono::steady_clock::now();
  const auto cosines = pair_cosines(pooled_vectors(model, pairs.sentences, pooling, pairs.pad_id,
                                                   batch_size, /*show_progress=*/true));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report_correlation("pearson", pearson_correlation, cosines, pairs.scores, key, metrics);
  report_correlation("spearman", spearman_correlation, cosines, pairs.scores, key, metrics);
  metrics["num_pairs"] = pairs.scores.size();
  metrics["num_tokens"] = pairs.num_tokens;
  metrics["tokens_per_second"] = static_cast<double>(pairs.num_tokens) / seconds;
  lowbank::print(
      "Pearson {:.4f} +- {:.4f}, Spearman {:.4f} +- {:.4f} over {} pairs; {:.0f} tokens/s",
      metrics["pearson"].get<double>(), metrics["pearson_stderr"].get<double>(),
      metrics["spearman"].get<double>(), metrics["spearman_stderr"].get<double>(),
      group_digits(static_cast<std::int64_t>(pairs.scores.size())),
      metrics["tokens_per_second"].get<double>());
}

}  // namespace lowbank
