#include "models/llama.h"

#include <string>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>

#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::biased_config;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::factorize;
using ::testing::Not;
using testing::random_ids;
using testing::tiny_config;
using testing::tiny_llama;

// Logits are of order 10; float32 over two blocks, other summation order in the kernels.
constexpr double kSameMaths = 1e-4;

class LlamaTest : public testing::SeededTest {};

torch::Tensor forward_in_chunks(LanguageModel& model, const torch::Tensor& ids,
                                const std::vector<std::int64_t>& chunks) {
  const auto state = model.make_state(ids.size(0), ids.size(1) + 3);
  std::vector<torch::Tensor> logits;
  std::int64_t begin = 0;
  for (const std::int64_t length : chunks) {
    EXPECT_EQ(state->length(), begin);
    logits.push_back(model.forward(ids.narrow(1, begin, length), state.get()));
    begin += length;
  }
  return at::cat(logits, 1);
}

TEST_F(LlamaTest, DecodingWithTheCacheEqualsTheFullForwardAtEveryPosition) {
  for (const auto& config : {tiny_config(), biased_config()}) {
    const auto model = tiny_llama(config);
    const auto ids = random_ids(2, 9);
    const c10::InferenceMode inference;
    const auto full = model->forward(ids);
    EXPECT_TENSOR_NEAR(forward_in_chunks(*model, ids, {1, 1, 1, 1, 1, 1, 1, 1, 1}), full,
                       kSameMaths);
    EXPECT_TENSOR_NEAR(forward_in_chunks(*model, ids, {9}), full, kSameMaths);
    EXPECT_TENSOR_NEAR(forward_in_chunks(*model, ids, {3, 4, 1, 1}), full, kSameMaths);
  }
}

TEST_F(LlamaTest, DecodingWorksOnAFactoredModel) {
  const auto model = tiny_llama();
  factorize(*model, 8);
  const auto ids = random_ids(1, 6);
  EXPECT_TENSOR_NEAR(forward_in_chunks(*model, ids, {4, 1, 1}), model->forward(ids).detach(),
                     kSameMaths);
}

TEST_F(LlamaTest, FullRankFactorsLeaveTheLogits) {
  const auto model = tiny_llama(biased_config());
  const auto ids = random_ids(2, 7);
  const auto before = model->forward(ids);
  for (auto& slot : model->slots()) {
    const auto dense = *slot.get().as_dense();
    const auto [u, s, vh] = at::linalg_svd(dense.weight_OI.detach(), /*full_matrices=*/false);
    slot.replace(std::make_shared<SvdLinear>(
        u, s, vh, dense.bias_O.defined() ? dense.bias_O.detach() : torch::Tensor()));
  }
  EXPECT_TENSOR_NEAR(model->forward(ids), before, kSameMaths);
}

TEST_F(LlamaTest, RowsOfABatchAreIndependent) {
  const auto model = tiny_llama();
  const auto ids = random_ids(3, 8);
  const auto together = model->forward(ids);
  for (std::int64_t b = 0; b < 3; ++b) {
    EXPECT_TENSOR_NEAR(model->forward(ids.narrow(0, b, 1)), together.narrow(0, b, 1), kSameMaths);
  }
}

TEST_F(LlamaTest, LaterTokensDoNotReachBack) {
  const auto model = tiny_llama();
  const auto ids = random_ids(1, 8);
  auto changed = ids.clone();
  changed.narrow(1, 5, 3).copy_((ids.narrow(1, 5, 3) + 1).remainder(testing::kVocab));
  const auto a = model->forward(ids), b = model->forward(changed);
  EXPECT_TENSOR_NEAR(a.narrow(1, 0, 5), b.narrow(1, 0, 5), 0.0);
  EXPECT_GT((a - b).narrow(1, 5, 1).abs().max().item<double>(), 0.1);
}

TEST_F(LlamaTest, EvaluatingFirstDoesNotStandInTheWayOfTraining) {
  const auto model = tiny_llama();
  const auto ids = random_ids(2, 8);
  {
    const c10::InferenceMode inference;
    model->forward(ids);
  }
  const auto logits = model->forward(ids).flatten(0, 1);
  at::cross_entropy_loss(logits, ids.flatten()).backward();
  for (const auto& parameter : model->named_parameters()) {
    ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
    EXPECT_GT(parameter.value().grad().abs().max().item<double>(), 0.0) << parameter.key();
  }
}

TEST_F(LlamaTest, AStateMadeInInferenceModeServesOutsideAndBack) {
  const auto model = tiny_llama();
  std::unique_ptr<DecodeState> state;
  {
    const c10::InferenceMode inference;
    state = model->make_state(1, 4);
    model->forward(random_ids(1, 1), state.get());
  }
  EXPECT_NO_THROW(model->forward(random_ids(1, 1), state.get()));
  EXPECT_EQ(state->length(), 2);
}

TEST_F(LlamaTest, ParametersHaveHuggingFaceNames) {
  std::vector<std::string> names;
  for (const auto& parameter : tiny_llama(biased_config())->named_parameters()) {
    names.push_back(parameter.key());
  }
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
        "model.layers.1.post_attention_layernorm.weight", "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.o_proj.bias", "model.layers.1.mlp.down_proj.bias",
        "model.norm.weight", "lm_head.weight"}) {
    EXPECT_THAT(names, Contains(name));
  }
  names.clear();
  for (const auto& parameter : tiny_llama()->named_parameters()) names.push_back(parameter.key());
  EXPECT_THAT(names, Not(Contains("lm_head.weight")));
}

TEST_F(LlamaTest, LinearsAreVisitedInForwardOrder) {
  auto config = biased_config();
  config["num_hidden_layers"] = 1;
  std::vector<std::string> paths;
  const auto model = tiny_llama(config);
  for (const auto& slot : model->slots()) paths.push_back(slot.path());
  EXPECT_THAT(paths,
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
                          "model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.o_proj",
                          "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj",
                          "model.layers.0.mlp.down_proj", "lm_head"));
}

TEST_F(LlamaTest, ATiedHeadIsCountedOnceAndIsNoSlot) {
  const auto model = tiny_llama();
  for (const auto& slot : model->slots()) EXPECT_NE(slot.role(), LinearRole::kHead);
  // Per layer: q 32x32, k and v 16x32, o 32x32, three of 40x32, two norms; one final norm.
  const std::int64_t layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 40 * 32 + 2 * 32;
  EXPECT_EQ(count_parameters(*model), testing::kVocab * 32 + 2 * layer + 32);
  auto untied = tiny_config();
  untied["tie_word_embeddings"] = false;
  EXPECT_EQ(count_parameters(*tiny_llama(untied)), 2 * testing::kVocab * 32 + 2 * layer + 32);
}

TEST_F(LlamaTest, RandomModelsDependOnKeyAndNameOnly) {
  auto deeper = tiny_config();
  deeper["num_hidden_layers"] = 3;
  const auto a = tiny_llama()->named_parameters(), b = tiny_llama(deeper)->named_parameters();
  for (const auto& parameter : a) {
    EXPECT_TRUE(at::equal(parameter.value(), b[parameter.key()])) << parameter.key();
  }
  EXPECT_FALSE(at::equal(a["model.layers.0.self_attn.q_proj.weight"],
                         a["model.layers.1.self_attn.q_proj.weight"]));
}

TEST_F(LlamaTest, Bfloat16StaysNearFloat32) {
  const auto ids = random_ids(1, 8);
  const auto exact = tiny_llama()->forward(ids);
  const auto rounded =
      make_random_model(tiny_config(), RandomKey(1), c10::kCPU, c10::kBFloat16)->forward(ids);
  EXPECT_EQ(rounded.scalar_type(), c10::kBFloat16);
  // 8 bits of mantissa over two blocks: a few per cent of the largest logit.
  EXPECT_TENSOR_NEAR(rounded.to(c10::kFloat), exact, 0.05 * exact.abs().max().item<double>());
}

TEST_F(LlamaTest, WrongCallsAreRefused) {
  const auto model = tiny_llama();
  EXPECT_THROW(model->forward(random_ids(1, 4).flatten()), c10::Error);
  EXPECT_THROW(model->forward(random_ids(1, 4).to(c10::kFloat)), c10::Error);
  const auto state = model->make_state(1, 4);
  EXPECT_THROW(model->forward(random_ids(2, 1), state.get()), c10::Error);
  EXPECT_THROW(model->forward(random_ids(1, 5), state.get()), c10::Error);
  EXPECT_EQ(state->length(), 0);
  EXPECT_THROW(model->make_state(0, 4), c10::Error);
}

TEST_F(LlamaTest, TheForwardOnAGpuEqualsTheCpu_CUDA) {
  const auto ids = random_ids(2, 8);
  const auto expected = tiny_llama()->forward(ids);
  const auto model = make_random_model(tiny_config(), RandomKey(1), c10::kCUDA);
  EXPECT_TENSOR_NEAR(model->forward(ids.to(c10::kCUDA)).cpu(), expected, kSameMaths);
}

}  // namespace
}  // namespace lowbank
