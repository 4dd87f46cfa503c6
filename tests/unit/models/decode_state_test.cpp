#include "models/decode_state.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "error_text.h"
#include "sample_models.h"
#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;
using testing::random_ids;

class DecodeStateTest : public testing::SeededTest {
 protected:
  static std::vector<std::shared_ptr<LanguageModel>> make_models() {
    std::vector<std::shared_ptr<LanguageModel>> made;
    for (const auto& config : testing::causal_samples()) {
      made.push_back(make_random_model(config, RandomKey(1)));
    }
    return made;
  }
  std::shared_ptr<LanguageModel> llama = testing::tiny_llama();
  std::shared_ptr<LanguageModel> mamba = make_random_model(testing::small_mamba(), RandomKey(1));
  std::vector<std::shared_ptr<LanguageModel>> models = make_models();
  c10::InferenceMode inference;
};

TEST_F(DecodeStateTest, ACloneGoesOnByItself) {
  for (const auto& model : models) {
    const auto ids = random_ids(2, 5);
    const auto state = model->make_state(2, 6);
    model->forward(ids.narrow(1, 0, 3), state.get());
    const auto copy = state->clone();
    EXPECT_EQ(copy->length(), 3);
    const auto expected = model->forward(ids.narrow(1, 3, 1), state.get());
    model->forward(ids.narrow(1, 4, 1), state.get());
    EXPECT_TRUE(at::equal(model->forward(ids.narrow(1, 3, 1), copy.get()), expected));
    EXPECT_EQ(copy->length(), 4);
    EXPECT_EQ(state->length(), 5);
  }
}

TEST_F(DecodeStateTest, SelectedRowsGoOnAsTheyWouldHaveBefore) {
  const auto index = at::tensor({2, 0, 2, 1}, at::kLong);
  for (const auto& model : models) {
    for (const bool padded : {false, true}) {
      const auto ids = random_ids(3, 4), next = random_ids(3, 1);
      auto mask = at::ones({3, 4}, at::kBool);
      if (padded) mask.select(1, 0).copy_(at::tensor({1, 0, 0}).to(at::kBool));
      const auto state = model->make_state(3, 6);
      model->forward(padded ? ModelInput(ids, mask) : ModelInput(ids), state.get());
      const auto selected = state->clone();
      selected->select_rows(index);
      EXPECT_EQ(selected->batch(), 4);
      const auto expected = model->forward(next, state.get()).index_select(0, index);
      // float32 products of other numbers of rows.
      EXPECT_TENSOR_NEAR(model->forward(next.index_select(0, index), selected.get()), expected,
                         1e-5);
    }
  }
}

TEST_F(DecodeStateTest, AStateMadeOfSelectedRowsServesOutsideOfInferenceMode) {
  for (const auto& model : models) {
    const auto state = model->make_state(2, 4);
    model->forward(random_ids(2, 2), state.get());
    state->select_rows(at::tensor({1}, at::kLong));
    const c10::InferenceMode outside(false);
    const auto ids = random_ids(1, 1);
    EXPECT_NO_THROW(model->forward(ids, state.get()));
    EXPECT_EQ(state->length(), 3);
  }
}

TEST_F(DecodeStateTest, AVisitorSeesEveryCacheOfEveryBlock) {
  const std::pair<LanguageModel*, std::vector<std::string>> cases[] = {
      {llama.get(), {"keys", "values", "keys", "values"}},
      {mamba.get(), {"window", "state", "window", "state"}}};
  for (const auto& [model, expected] : cases) {
    const auto state = model->make_state(3, 4);
    std::vector<std::string> names;
    state->for_each([&](std::string_view name, torch::Tensor& values) {
      names.emplace_back(name);
      EXPECT_EQ(values.size(0), 3);
    });
    EXPECT_EQ(names, expected);
  }
}

TEST_F(DecodeStateTest, WhatDoesNotFitIsRefused) {
  const auto state = llama->make_state(1, 4);
  EXPECT_THROW(mamba->forward(random_ids(1, 1), state.get()), c10::Error);
  EXPECT_THROW(llama->forward(random_ids(1, 1), mamba->make_state(1, 4).get()), c10::Error);
  EXPECT_THROW(llama->forward(random_ids(1, 5), state.get()), c10::Error);
  EXPECT_NO_THROW(mamba->forward(random_ids(1, 5), mamba->make_state(1, 4).get()));
  EXPECT_THROW(llama->forward(random_ids(2, 1), state.get()), c10::Error);
  EXPECT_THROW(mamba->make_state(1, 0), c10::Error);
  EXPECT_THAT(testing::error_text<ConfigError>(
                  [&] { llama->make_state({.batch = 1, .max_length = 1, .kv_format = "int3"}); }),
              HasSubstr("kv_format: 'int3' is no format of keys and values; allowed are 'model'"));
  EXPECT_THAT(testing::error_text<ConfigError>(
                  [&] { mamba->make_state({.batch = 1, .max_length = 1, .state_format = "x"}); }),
              HasSubstr("state_format: 'x'"));
  const auto bert = make_random_model(testing::small_bert("BertModel"), RandomKey(1));
  EXPECT_THROW(bert->make_state(1, 4), c10::Error);
  EXPECT_THROW(bert->forward(random_ids(1, 1), state.get()), c10::Error);
}

TEST_F(DecodeStateTest, TwoQuestionsHaveTwoAnswers) {
  const auto bert = make_random_model(testing::small_bert("BertForMaskedLM"), RandomKey(1));
  EXPECT_FALSE(bert->is_causal());
  EXPECT_EQ(bert->head_kind(), HeadKind::kMaskedToken);
  for (const auto& model : models) {
    EXPECT_TRUE(model->is_causal());
    EXPECT_EQ(model->head_kind(), HeadKind::kNextToken);
  }
}

TEST_F(DecodeStateTest, BlocksInTurnAreTheWholePass) {
  models.push_back(make_random_model(testing::small_bert("BertForMaskedLM"), RandomKey(1)));
  for (const auto& model : models) {
    const auto ids = random_ids(2, 5);
    BlockPass pass;
    auto x_BTD = model->embed(ids, pass);
    for (std::int64_t i = 0; i < model->num_blocks(); ++i) {
      x_BTD = model->block(i, x_BTD, pass, nullptr);
    }
    EXPECT_TRUE(at::equal(model->finish(x_BTD), model->hidden_states(ids)));
  }
}

}  // namespace
}  // namespace lowbank
