#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "eval/generate.h"
#include "io/safetensors.h"
#include "models/bert.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/tensor_file.h"
#include "stages/logits_stage.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

constexpr const char* kFixtureVersion = "1";

/// transformers' outputs for tiny random models: tests/parity/make_{llama,bert,mamba}_fixture.py
/// say what each file holds.
class ModelParity : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = folder_ + "/expected.safetensors";
    ASSERT_EQ(SafetensorsFile::open(path)->metadata().at("fixture_version"), kFixtureVersion)
        << "stale fixture: run the generators of tests/parity with .venv-dev/bin/python";
    expected_ = read_tensors(path);
  }

  /// What `lowbank logits` writes for these tensors.
  std::map<std::string, torch::Tensor> run_stage(
      const std::map<std::string, torch::Tensor>& input) {
    const testing::TempFolder folder;
    write_tensors(folder.path("ids.safetensors"), input);
    LogitsConfig config;
    config.common.quiet = true;
    config.common.threads = 1;
    config.checkpoint = folder_;
    config.ids = folder.path("ids.safetensors");
    config.out = folder.path("logits.safetensors");
    logits_stage(config, nullptr, metrics_);
    return read_tensors(config.out);
  }

  std::string folder_ = std::string(LOWBANK_SOURCE_DIR "/tests/parity/fixtures/") + GetParam();
  std::map<std::string, torch::Tensor> expected_;
  Metrics metrics_;
};

class CausalParity : public ModelParity {};
class RotaryScalingParity : public ModelParity {};
class MambaParity : public ModelParity {};
class BertParity : public ModelParity {};
class Bf16Parity : public ModelParity {};

// float32 over two blocks, other kernels: relative to the largest logit.
double tolerance(const torch::Tensor& logits) { return 1e-5 * logits.abs().max().item<double>(); }

std::vector<std::int64_t> row_ids(const torch::Tensor& ids_T) {
  const auto row_T = ids_T.contiguous();
  const auto* const ids = row_T.const_data_ptr<std::int64_t>();
  return {ids, ids + row_T.numel()};
}

TEST_P(CausalParity, LogitsAreThoseOfTransformers) {
  const c10::InferenceMode inference;
  const auto& logits = expected_.at("logits");
  EXPECT_TENSOR_NEAR(load_model(folder_).model->forward(expected_.at("input_ids")), logits,
                     tolerance(logits));
}

TEST_P(CausalParity, DecodingTokenByTokenGivesTransformersLogits) {
  const c10::InferenceMode inference;
  const auto model = load_model(folder_).model;
  const auto& ids = expected_.at("input_ids");
  const auto& logits = expected_.at("logits");
  const auto state = model->make_state(ids.size(0), ids.size(1));
  for (std::int64_t t = 0; t < ids.size(1); ++t) {
    EXPECT_TENSOR_NEAR(model->forward(ids.narrow(1, t, 1), state.get()), logits.narrow(1, t, 1),
                       tolerance(logits));
  }
}

TEST_P(CausalParity, LeftPaddedRowsGiveTransformersLogitsWhereTheMaskIsOne) {
  const auto& mask_BT = expected_.at("attention_mask");
  const auto written =
      run_stage({{"input_ids", expected_.at("padded_ids")}, {"attention_mask", mask_BT}});
  const auto& logits = expected_.at("padded_logits");
  EXPECT_TENSOR_NEAR(written.at("logits"), logits * mask_BT.unsqueeze(-1), tolerance(logits));
  EXPECT_EQ(metrics_["num_tokens"], mask_BT.sum().item<std::int64_t>());
}

TEST_P(CausalParity, AMaskDoesWhatLeavingThePaddingOutDoes) {
  const c10::InferenceMode inference;
  const auto model = load_model(folder_).model;
  const auto mask_BT = expected_.at("attention_mask").to(c10::kBool);
  const auto& logits = expected_.at("padded_logits");
  const auto mask_BT1 = mask_BT.unsqueeze(-1);
  const ModelInput input(expected_.at("padded_ids"), mask_BT);
  EXPECT_TENSOR_NEAR(model->forward(input) * mask_BT1, logits * mask_BT1, tolerance(logits));
  // The same with a state: padding and first tokens at once, the rest one by one.
  const auto& ids = input.ids_BT;
  const std::int64_t length = ids.size(1), first = length - 2;
  const auto state = model->make_state(ids.size(0), length);
  model->forward({ids.narrow(1, 0, first), mask_BT.narrow(1, 0, first)}, state.get());
  for (std::int64_t t = first; t < length; ++t) {
    EXPECT_TENSOR_NEAR(model->forward(ids.narrow(1, t, 1), state.get()), logits.narrow(1, t, 1),
                       tolerance(logits));
  }
}

TEST_P(CausalParity, GreedyTokensAreThoseOfTransformers) {
  const auto model = load_model(folder_).model;
  const auto stop_ids = read_stop_ids(folder_);
  const auto continued = [&](const torch::Tensor& ids_BT, const torch::Tensor& mask_BT,
                             const torch::Tensor& generated_BT) {
    std::vector<Prompt> prompts;
    std::vector<std::vector<std::int64_t>> rows;
    for (std::int64_t i = 0; i < generated_BT.size(0); ++i) {
      prompts.push_back({.ids = row_ids(ids_BT[i].masked_select(mask_BT[i])), .key = RandomKey(0)});
      rows.push_back(row_ids(generated_BT[i]));
    }
    const auto generated =
        generate_tokens(*model, prompts, std::max<std::int64_t>(12, generated_BT.size(1)), stop_ids,
                        {.greedy = true}, [](std::size_t, std::int64_t) {});
    EXPECT_EQ(generated, rows);
  };
  if (expected_.contains("generated_ids")) {
    const auto& ids = expected_.at("input_ids");
    continued(ids, at::ones_like(ids, at::kBool), expected_.at("generated_ids"));
  }
  if (expected_.contains("generated_batch")) {
    continued(expected_.at("padded_ids"), expected_.at("attention_mask").to(c10::kBool),
              expected_.at("generated_batch"));
  }
}

TEST_P(RotaryScalingParity, LogitsAreThoseOfTransformers) {
  const c10::InferenceMode inference;
  const auto model = load_model(folder_).model;
  const std::int64_t trained = model->config()["max_position_embeddings"].get<std::int64_t>();
  for (const auto* stem : {"", "long_"}) {
    const std::string prefix = stem;
    const auto ids_name = prefix.empty() ? std::string("input_ids") : prefix + "ids";
    if (!expected_.contains(ids_name)) continue;
    const auto& ids = expected_.at(ids_name);
    const auto& logits = expected_.at(prefix + "logits");
    const std::int64_t length = ids.size(1);
    EXPECT_TENSOR_NEAR(model->forward(ids), logits, tolerance(logits));
    const auto whole = model->make_state(ids.size(0), length);
    EXPECT_TENSOR_NEAR(model->forward(ids, whole.get()), logits, tolerance(logits));
    if (length > trained) continue;  // there, earlier tokens saw a shorter sequence
    const auto state = model->make_state(ids.size(0), length);
    for (std::int64_t t = 0; t < length; ++t) {
      EXPECT_TENSOR_NEAR(model->forward(ids.narrow(1, t, 1), state.get()), logits.narrow(1, t, 1),
                         tolerance(logits));
    }
  }
}

// bfloat16 keeps 8 bits, so two programs that round at other places differ from each other about as
// much as each does from float32. What is held to is the latter: our error may be twice the one
// that transformers makes in bfloat16 with the same weights, in the mean and at worst.
TEST_P(Bf16Parity, TheErrorOfBf16IsThatOfTransformers) {
  constexpr double kOfTheirs = 2;
  const c10::InferenceMode inference;
  const auto model = load_model(folder_, c10::kCPU, c10::kBFloat16).model;
  const auto& ids = expected_.at("input_ids");
  const auto& logits = expected_.at("logits");
  const auto error = [&](const torch::Tensor& in_bf16) {
    return (in_bf16.to(c10::kFloat) - logits).abs();
  };
  const auto theirs = error(expected_.at("logits_bf16"));
  const auto check = [&](const torch::Tensor& in_bf16, const char* way) {
    EXPECT_EQ(in_bf16.scalar_type(), c10::kBFloat16) << way;
    const auto ours = error(in_bf16);
    EXPECT_LE(ours.mean().item<double>(), kOfTheirs * theirs.mean().item<double>()) << way;
    EXPECT_LE(ours.max().item<double>(), kOfTheirs * theirs.max().item<double>()) << way;
  };
  check(model->forward(ids), "at once");
  const auto state = model->make_state(ids.size(0), ids.size(1));
  std::vector<torch::Tensor> steps;
  for (std::int64_t t = 0; t < ids.size(1); ++t) {
    steps.push_back(model->forward(ids.narrow(1, t, 1), state.get()));
  }
  check(at::cat(steps, 1), "token by token");
}

TEST_P(MambaParity, LongerInputsGiveTransformersLogits) {
  const c10::InferenceMode inference;
  const auto& logits = expected_.at("long_logits");
  EXPECT_TENSOR_NEAR(load_model(folder_).model->forward(expected_.at("long_ids")), logits,
                     tolerance(logits));
}

TEST_P(BertParity, OutputsAreThoseOfTransformers) {
  const std::string name = expected_.contains("logits") ? "logits" : "last_hidden_state";
  const std::map<std::string, torch::Tensor> ids = {{"input_ids", expected_.at("input_ids")}};
  const auto check = [&](std::map<std::string, torch::Tensor> input, const std::string& suffix) {
    const auto& expected = expected_.at(name + suffix);
    auto actual = run_stage(input).at(name);
    auto wanted = expected;
    const bool is_per_token = expected.dim() == 3;
    if (const auto mask = input.find("attention_mask"); mask != input.end() && is_per_token) {
      actual = actual * mask->second.unsqueeze(-1);
      wanted = wanted * mask->second.unsqueeze(-1);
    }
    EXPECT_TENSOR_NEAR(actual, wanted, tolerance(expected));
  };
  check(ids, "");
  auto input = ids;
  input["token_type_ids"] = expected_.at("token_type_ids");
  check(input, "_typed");
  input["attention_mask"] = expected_.at("attention_mask");
  check(input, "_masked");
}

TEST_P(BertParity, ThePoolerIsTransformers) {
  if (!expected_.contains("pooler_output")) return;  // a class without one
  const c10::InferenceMode inference;
  const auto model = load_model(folder_).model;
  const auto& bert = dynamic_cast<const BertModel&>(*model);
  const auto& pooled = expected_.at("pooler_output");
  EXPECT_TENSOR_NEAR(bert.pool(model->hidden_states(expected_.at("input_ids"))), pooled,
                     tolerance(pooled));
}

INSTANTIATE_TEST_SUITE_P(Llama, CausalParity,
                         ::testing::Values("llama_gqa_tied", "llama_bias_untied",
                                           "llama_llama3_rope", "llama_default",
                                           "llama_attention_bias", "llama_mlp_bias",
                                           "llama_head_dim_gqa", "llama_multi_query",
                                           "llama_eos_list", "llama_bf16"));
INSTANTIATE_TEST_SUITE_P(Llama, RotaryScalingParity,
                         ::testing::Values("llama_linear_rope", "llama_linear_rope_type",
                                           "llama_linear_rope_5", "llama_dynamic_rope",
                                           "llama_dynamic_rope_5"));
constexpr const char* kMambaCases[] = {
    "mamba_default",        "mamba_bias_untied", "mamba_no_conv_bias",  "mamba_odd",
    "mamba_rank_of_hidden", "mamba_bf16",        "mamba_bf16_residual", "mamba_state_spaces"};
INSTANTIATE_TEST_SUITE_P(Mamba, CausalParity, ::testing::ValuesIn(kMambaCases));
INSTANTIATE_TEST_SUITE_P(Mamba, MambaParity, ::testing::ValuesIn(kMambaCases));
INSTANTIATE_TEST_SUITE_P(Causal, Bf16Parity,
                         ::testing::Values("llama_bf16", "mamba_bf16", "mamba_bf16_residual"));
INSTANTIATE_TEST_SUITE_P(Bert, BertParity,
                         ::testing::Values("bert_model", "bert_no_pooler", "bert_masked_lm",
                                           "bert_pretraining", "bert_regression", "bert_two_labels",
                                           "bert_three_labels", "bert_old_names"));

}  // namespace
}  // namespace lowbank
