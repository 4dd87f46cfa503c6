#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/record_function.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "models/factory.h"
#include "models/make_workload.h"
#include "pim/reshape.h"
#include "pim/workload.h"
#include "sample_models.h"
#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::biased_config;
using testing::factorize;
using testing::random_ids;
using testing::tiny_llama;

std::int64_t counted_macs = 0;

/// Multiply-adds of the matrix products that LibTorch really runs while the object lives, from the
/// shapes that its operators get.
class MacCounter {
 public:
  MacCounter() {
    counted_macs = 0;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(
            [](const at::RecordFunction& call) -> std::unique_ptr<at::ObserverContext> {
              const std::string name = call.name();
              const auto inputs = call.inputs();
              if (name == "aten::linear" || name == "lowbank::small_linear" ||
                  name == "lowbank::linear") {
                counted_macs += inputs[0].toTensor().numel() * inputs[1].toTensor().size(0);
              } else if (name == "aten::scaled_dot_product_attention") {
                const auto q = inputs[0].toTensor(), k = inputs[1].toTensor();
                counted_macs += 2 * q.numel() * k.size(2);
              } else if (name == "lowbank::decode_attention") {
                counted_macs += 2 * inputs[0].toTensor().numel() * inputs[1].toTensor().size(2);
              } else if (name == "lowbank::causal_conv") {
                counted_macs += inputs[0].toTensor().numel() * inputs[1].toTensor().size(1);
              } else if (name == "lowbank::selective_scan") {
                counted_macs += 2 * inputs[0].toTensor().numel() * inputs[1].toTensor().size(0);
              }
              return nullptr;
            })
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION}));
  }
  ~MacCounter() { at::removeCallback(handle_); }
  std::int64_t count() const { return counted_macs; }

 private:
  at::CallbackHandle handle_;
};

std::int64_t total_macs(const std::vector<pim::Operator>& operators) {
  std::int64_t total = 0;
  for (const auto& op : operators) total += op.macs();
  return total;
}

class OperatorsTest : public testing::SeededTest {};

TEST_F(OperatorsTest, MacsAreThoseOfTheForwardPass) {
  auto configs = testing::causal_samples();
  auto& untied = configs.emplace_back(testing::small_mamba());
  untied["tie_word_embeddings"] = false;
  untied["use_bias"] = false;
  for (const auto& config : configs) {
    for (const bool factored : {false, true}) {
      const auto model = make_random_model(config, RandomKey(1));
      if (factored) factorize(*model, 5);
      const torch::NoGradGuard no_grad;
      {
        const MacCounter counter;
        model->forward(random_ids(3, 7));
        EXPECT_EQ(total_macs(model->operators(pim::Phase::kPrefill, 3, 7)), counter.count());
      }
      const auto state = model->make_state(3, 7);
      model->forward(random_ids(3, 6), state.get());
      const MacCounter counter;
      model->forward(random_ids(3, 1), state.get());
      EXPECT_EQ(total_macs(model->operators(pim::Phase::kDecode, 3, 7)), counter.count());
    }
  }
}

// Rows, heads, caches and states of every kind of model: `estimate` derives other sizes from one
// file.
TEST_F(OperatorsTest, WhatIsDerivedForASizeIsWhatIsExportedThere) {
  const auto exported = [](LanguageModel& model, std::int64_t batch, std::int64_t context) {
    pim::Workload workload;
    workload.model = "model";
    workload.batch = batch;
    workload.context = context;
    workload.num_layers = 2;
    workload.weight_bits = 32;
    workload.prefill = model.operators(pim::Phase::kPrefill, batch, context);
    if (model.is_causal()) workload.decode = model.operators(pim::Phase::kDecode, batch, context);
    return workload;
  };
  std::vector<std::shared_ptr<LanguageModel>> models;
  for (const auto& config : testing::sample_models()) {
    for (const bool factored : {false, true}) {
      models.push_back(make_random_model(config, RandomKey(1)));
      if (factored) factorize(*models.back(), 5);
    }
  }
  for (const auto& model : models) {
    const pim::Workload from = exported(*model, 3, 7);
    for (const auto& [batch, context] :
         {std::pair<std::int64_t, std::int64_t>{3, 7}, {1, 1}, {8, 7}, {3, 100}, {64, 33}}) {
      const pim::Workload derived = pim::reshape_workload(from, batch, context);
      const pim::Workload expected = exported(*model, batch, context);
      for (const pim::Phase phase : {pim::Phase::kPrefill, pim::Phase::kDecode}) {
        const auto& left = derived.operators(phase);
        const auto& right = expected.operators(phase);
        ASSERT_EQ(left.size(), right.size());
        for (std::size_t i = 0; i < left.size(); ++i) {
          EXPECT_EQ(std::tie(left[i].name, left[i].m, left[i].n, left[i].k, left[i].count),
                    std::tie(right[i].name, right[i].m, right[i].n, right[i].k, right[i].count))
              << right[i].name << " at " << batch << " x " << context;
          EXPECT_DOUBLE_EQ(left[i].weight_bytes, right[i].weight_bytes) << right[i].name;
          EXPECT_DOUBLE_EQ(left[i].activation_bytes, right[i].activation_bytes) << right[i].name;
        }
      }
    }
  }
}

TEST_F(OperatorsTest, MacsOfABertAreThoseOfTheForwardPass) {
  for (const auto* head : {"BertModel", "BertForMaskedLM", "BertForSequenceClassification"}) {
    const auto model = make_random_model({{"model_type", "bert"},
                                          {"architectures", {head}},
                                          {"vocab_size", testing::kVocab},
                                          {"hidden_size", 32},
                                          {"num_hidden_layers", 2},
                                          {"num_attention_heads", 4},
                                          {"intermediate_size", 40}},
                                         RandomKey(1));
    const torch::NoGradGuard no_grad;
    const MacCounter counter;
    model->forward(random_ids(3, 7));
    EXPECT_EQ(total_macs(model->operators(pim::Phase::kPrefill, 3, 7)), counter.count()) << head;
    EXPECT_TRUE(model->operators(pim::Phase::kDecode, 3, 7).empty());
  }
}

TEST_F(OperatorsTest, AtDecodeEveryWeightIsReadOnce) {
  for (const bool factored : {false, true}) {
    const auto model = tiny_llama(biased_config());
    if (factored) factorize(*model, 5);
    double bytes = 0;
    for (const auto& op : model->operators(pim::Phase::kDecode, 1, 4)) {
      if (op.kind != pim::OperatorKind::kEmbedding) bytes += op.weight_bytes;
    }
    // The embedding table is not read whole, the head is a matrix of its own.
    EXPECT_EQ(bytes, 4.0 * static_cast<double>(count_parameters(*model) - testing::kVocab * 32));
  }
}

TEST_F(OperatorsTest, SharedKeysAreReadOncePerGroup) {
  // Cache bytes of a layer: keys and values of kv_heads x context x head_dim.
  const auto ops = tiny_llama()->operators(pim::Phase::kDecode, 2, 11);
  double cache = 0;
  for (const auto& op : ops) {
    if (op.layer != 0 ||
        (op.kind != pim::OperatorKind::kScore && op.kind != pim::OperatorKind::kAttend)) {
      continue;
    }
    EXPECT_EQ(op.queries_per_cache, 2);  // 4 heads, 2 of keys and values
    const double rest = 4.0 * (8 + 11);  // one query or output row, one row of scores
    cache += (op.activation_bytes - rest) * static_cast<double>(op.count);
  }
  EXPECT_DOUBLE_EQ(cache, 2 /*batch*/ * 2 /*k, v*/ * 2 /*heads*/ * 11.0 * 8.0 * 4.0);
}

TEST_F(OperatorsTest, FactorsStandAsTwoProductsOfTheirRank) {
  const auto model = tiny_llama();
  factorize(*model, 5);
  int found = 0;
  for (const auto& op : model->operators(pim::Phase::kPrefill, 1, 4)) {
    if (op.name != "model.layers.1.mlp.up_proj") continue;
    EXPECT_EQ(op.factored_as, "svd");
    EXPECT_EQ(op.rank, 5);
    EXPECT_EQ(op.group, "gate_up");
    EXPECT_EQ(op.layer, 1);
    EXPECT_EQ(op.stage, found);
    EXPECT_EQ(op.stage == 0 ? op.n : op.k, 5);
    EXPECT_EQ(op.stage == 0 ? op.k : op.n, op.stage == 0 ? 32 : 40);
    ++found;
  }
  EXPECT_EQ(found, 2);
}

TEST_F(OperatorsTest, AWorkloadSurvivesItsFile) {
  LoadedModel loaded{.model = tiny_llama(), .folder = "somewhere/tiny", .meta = {}};
  factorize(*loaded.model, 5);
  WorkloadOptions options;
  options.context = 16;
  options.batch = 2;
  const auto workload = make_workload(loaded, options);
  EXPECT_EQ(workload.model, "tiny");
  EXPECT_EQ(workload.num_layers, 2);
  EXPECT_EQ(workload.num_params, count_parameters(*loaded.model));
  EXPECT_EQ(workload.weight_bits, 32);
  EXPECT_EQ(total_macs(workload.prefill),
            total_macs(loaded.model->operators(pim::Phase::kPrefill, 2, 16)));
  options.phases = WorkloadPhases::kDecode;
  EXPECT_TRUE(make_workload(loaded, options).prefill.empty());
}

TEST_F(OperatorsTest, SizesBeyond63BitsAreRefused) {
  const LoadedModel loaded{.model = tiny_llama(), .folder = "tiny", .meta = {}};
  WorkloadOptions options;
  for (const std::int64_t context : {std::int64_t{1} << 62, std::int64_t{1} << 39}) {
    options.context = context;
    options.batch = 4;
    EXPECT_THROW(make_workload(loaded, options), ConfigError);
  }
}

}  // namespace
}  // namespace lowbank
