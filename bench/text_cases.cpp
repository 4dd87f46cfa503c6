#include "bench/text_cases.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/philox.h"
#include "data/glue.h"
#include "data/length_batches.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "tokenizers/tokenizer.h"
#include "train/adamw.h"

namespace lowbank {
namespace {

/// What a case reads, and what it does with that.
struct TextCase {
  const char* name;
  const char* task;
  const char* folder;
  GlueSplit split;
  std::int64_t batch_size;
  bool trains;
};

constexpr TextCase kTextCases[] = {
    {"bert_minilm_forward_stsb_sorted", "sts-b", "STS-B", GlueSplit::kDev, 32, false},
    {"bert_minilm_train_stsb_sorted", "sts-b", "STS-B", GlueSplit::kTrain, 16, true},
    {"bert_minilm_train_mrpc_sorted", "mrpc", "MRPC", GlueSplit::kTrain, 16, true}};

constexpr std::int64_t kPaddedLength = 128;
constexpr std::size_t kNumBatches = 6;  // per data set: more would take minutes if padded

/// A batch with the labels of its examples, undefined where nothing is trained.
struct TextBatch {
  PaddedBatch input;
  torch::Tensor labels_B;
};

/// Texts as a model reads them.
struct Texts {
  std::vector<tokenizers::PairEncoding> sequences;
  std::vector<double> labels;  // empty where nothing is trained
};

// Forward cases read sentences one by one, as the similarity of sentences is measured; training
// cases read pairs, as they are classified.
Texts open_texts(const TextCase& item, const std::string& data,
                 const tokenizers::Tokenizer& tokenizer) {
  Texts out;
  for (const auto& example :
       read_glue(glue_task(item.task), fmt::format("{}/glue/{}", data, item.folder), item.split)) {
    if (item.trains) {
      out.sequences.push_back(tokenizer.encode_pair(example.first, example.second, kPaddedLength));
      out.labels.push_back(example.label);
    } else {
      for (const auto* sentence : {&example.first, &example.second}) {
        out.sequences.push_back(tokenizer.encode_pair(*sentence, std::nullopt, kPaddedLength));
      }
    }
  }
  return out;
}

// A sample of the batches, sorted by length: the middle one of each of kNumBatches equal parts.
// A smaller last batch is left out.
std::vector<BatchIndices> typical_batches(std::vector<BatchIndices> batches,
                                          std::span<const std::int64_t> lengths,
                                          std::int64_t batch_size) {
  std::erase_if(batches, [&](const auto& batch) {
    return static_cast<std::int64_t>(batch.size()) < batch_size;
  });
  const auto longest = [&](const BatchIndices& batch) {
    std::int64_t most = 0;
    for (const auto i : batch) most = std::max(most, lengths[static_cast<std::size_t>(i)]);
    return most;
  };
  std::stable_sort(batches.begin(), batches.end(),
                   [&](const auto& a, const auto& b) { return longest(a) < longest(b); });
  std::vector<BatchIndices> typical;
  for (std::size_t k = 0; k < kNumBatches; ++k) {
    typical.push_back(batches[(2 * k + 1) * batches.size() / (2 * kNumBatches)]);
  }
  return typical;
}

std::vector<TextBatch> make_batches(const Texts& texts, const std::vector<BatchIndices>& indices,
                                    std::int64_t pad_id, bool is_score, std::int64_t length) {
  std::vector<TextBatch> out;
  for (const auto& batch : indices) {
    out.push_back({.input = pad_batch(texts.sequences, batch, pad_id, length), .labels_B = {}});
    if (texts.labels.empty()) continue;
    std::vector<double> labels;
    for (const auto i : batch) labels.push_back(texts.labels[static_cast<std::size_t>(i)]);
    out.back().labels_B = at::tensor(labels, is_score ? at::kFloat : at::kLong);
  }
  return out;
}

ModelInput model_input(const TextBatch& batch) {
  return {batch.input.ids_BT, batch.input.mask_BT, batch.input.type_ids_BT};
}

using ModelPtr = std::shared_ptr<LanguageModel>;

BenchWork forward_work(const ModelPtr& model, std::vector<TextBatch> batches) {
  return [model, batches = std::move(batches)] {
    for (const auto& batch : batches) model->hidden_states(model_input(batch));
  };
}

// For each batch: the loss, the gradients of every parameter and one AdamW update, with the model's
// dropout.
BenchWork training_work(const ModelPtr& model, const std::shared_ptr<AdamW>& optimizer,
                        std::vector<TextBatch> batches) {
  const auto step = std::make_shared<std::uint64_t>(0);
  return [model, optimizer, step, batches = std::move(batches)] {
    const c10::InferenceMode normal_tensors(false);
    for (const auto& batch : batches) {
      optimizer->zero_grad();
      auto input = model_input(batch);
      input.dropout_key = RandomKey(0).derive((*step)++);
      const auto logits_BC = model->forward(input);
      const auto loss = logits_BC.size(1) == 1 ? at::mse_loss(logits_BC.squeeze(-1), batch.labels_B)
                                               : at::cross_entropy_loss(logits_BC, batch.labels_B);
      loss.backward();
      optimizer->step(1e-5);
    }
  };
}

}  // namespace

std::vector<std::string> text_case_names() {
  std::vector<std::string> names;
  for (const auto& item : kTextCases) names.emplace_back(item.name);
  return names;
}

bool is_text_case(const std::string& name) {
  return std::any_of(std::begin(kTextCases), std::end(kTextCases),
                     [&](const auto& item) { return name == item.name; });
}

BenchCase make_text_case(const std::string& name, const std::string& checkpoint) {
  const auto& item = *std::find_if(std::begin(kTextCases), std::end(kTextCases),
                                   [&](const auto& other) { return name == other.name; });
  const char* const data = std::getenv("LOWBANK_SHARED_DATA");
  if (data == nullptr) {
    throw ConfigError(
        fmt::format("case {}: needs texts; set LOWBANK_SHARED_DATA to a folder with glue/{} in it",
                    name, item.folder));
  }
  const std::string tokenizer_path =
      checkpoint.empty() ? fmt::format("{}/tokenizers/bert-base-uncased/vocab.txt", data)
                         : checkpoint;
  const auto tokenizer = tokenizers::open_tokenizer(tokenizer_path);
  const auto& classes = glue_task(item.task).classes;
  auto config = shape_config("minilm-l6");
  config["num_labels"] = classes.empty() ? 1 : classes.size();

  // A model that is trained must not be created in inference mode.
  const c10::InferenceMode normal_tensors(false);
  const ModelPtr model = make_random_model(config, RandomKey(0).derive("bench"));
  model->eval();
  if (tokenizer->vocab_size() > model->vocab_size()) {
    throw ConfigError(fmt::format("{}: has {} pieces, the model of case {} has {}", tokenizer_path,
                                  tokenizer->vocab_size(), name, model->vocab_size()));
  }
  const auto texts = open_texts(item, data, *tokenizer);
  const auto lengths = sequence_lengths(texts.sequences);
  const auto batches = typical_batches(
      item.trains ? length_grouped_batches(lengths, item.batch_size, RandomKey(0).derive("bench"))
                  : length_sorted_batches(lengths, item.batch_size),
      lengths, item.batch_size);
  const std::int64_t pad_id = tokenizer->special_ids().pad.value_or(0);
  const auto grouped = make_batches(texts, batches, pad_id, classes.empty(), /*length=*/0);
  const auto padded = make_batches(texts, batches, pad_id, classes.empty(), kPaddedLength);
  BenchCase out = {.name = name,
                   .unit = "seq/s",
                   .amount = static_cast<double>(item.batch_size) * kNumBatches,
                   .work = {},
                   .roof = "roof_gemm"};
  for (const auto& batch : grouped) {
    out.roof_amount +=
        (item.trains ? 3 : 1) * linear_flops(*model, item.batch_size, batch.input.ids_BT.size(1));
  }
  const auto alternative = fmt::format("padded_to_{}", kPaddedLength);
  if (item.trains) {
    for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
    const auto optimizer = std::make_shared<AdamW>(trainable_parameters(*model), AdamWOptions{});
    out.work = training_work(model, optimizer, grouped);
    out.alternatives = {{alternative, training_work(model, optimizer, padded)}};
  } else {
    out.work = forward_work(model, grouped);
    out.alternatives = {{alternative, forward_work(model, padded)}};
  }
  return out;
}

}  // namespace lowbank
