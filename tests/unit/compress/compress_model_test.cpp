#include "compress/compress_model.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "error_text.h"
#include "torch_support.h"
#include "unit/models/tiny_llama.h"
#include "unit/nn/test_layers.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;

class CompressModelTest : public testing::SeededTest {
 protected:
  CompressReport factor(const std::string& rank, const std::vector<std::string>& modules = {}) {
    return factor_linears(model->slots(), LinearChoice(modules), RankPolicy(rank),
                          [](std::int64_t) {});
  }
  torch::Tensor logits() {
    const torch::NoGradGuard guard;
    return model->forward(ids);
  }

  std::shared_ptr<LanguageModel> model = testing::tiny_llama(testing::biased_config());
  torch::Tensor ids = testing::random_ids(2, 9);
};

TEST_F(CompressModelTest, FullRankFactorsGiveTheSameLogits) {
  const auto before = logits();
  factor("fraction:1");
  // float32 products through two factors instead of one matrix, two layers deep.
  EXPECT_TENSOR_NEAR(logits(), before, 1e-4 * before.abs().max().item<double>());
}

TEST_F(CompressModelTest, EveryBlockLinearIsFactoredAtItsOwnRankAndTheHeadIsLeft) {
  const auto report = factor("break_even");
  ASSERT_EQ(report.linears.size(), 15u);  // 2 layers of 7, and the head
  for (const auto& linear : report.linears) {
    if (linear.path == "lm_head") {
      EXPECT_FALSE(linear.changed);
      EXPECT_EQ(linear.kind, "dense");
      continue;
    }
    EXPECT_TRUE(linear.changed) << linear.path;
    EXPECT_EQ(linear.rank, linear.out_features * linear.in_features /
                               (linear.out_features + linear.in_features));
    // u, s, vh and the bias; nothing of the dense layer stays.
    EXPECT_EQ(linear.params_after,
              linear.rank * (linear.out_features + linear.in_features + 1) + linear.out_features);
  }
  EXPECT_EQ(report.num_svds, 14);
}

TEST_F(CompressModelTest, TheReportedErrorIsTheOneOfTheLayerNowInPlace) {
  std::map<std::string, torch::Tensor> before;
  for (const auto& slot : model->slots()) {
    before[slot.path()] = slot.get().as_dense()->weight_OI.detach().clone();
  }
  const auto report = factor("ratio:0.5");
  std::size_t i = 0;
  for (const auto& slot : model->slots()) {
    const auto& entry = report.linears[i++];
    const auto* svd = find_layer<SvdLinear>(slot);
    if (svd == nullptr) continue;
    const auto& weight = before[slot.path()];
    const double error = ((svd->dense_weight() - weight).norm() / weight.norm()).item<double>();
    EXPECT_NEAR(entry.relative_error, error, 1e-5) << slot.path();  // float32 factors
  }
}

TEST_F(CompressModelTest, PatternsAreSearchedAnywhereInThePath) {
  const auto report = factor("break_even", {"layers\\.1\\.(?i)MLP\\.(?=up)", "lm_head"});
  std::vector<std::string> changed;
  for (const auto& linear : report.linears) {
    if (linear.changed) changed.push_back(linear.path);
  }
  EXPECT_EQ(changed, (std::vector<std::string>{"model.layers.1.mlp.up_proj", "lm_head"}));
}

TEST_F(CompressModelTest, DenseAgainGivesTheFactoredModelsLogits) {
  factor("ratio:0.5");
  const auto factored = logits();
  const auto report = make_linears_dense(model->slots(), LinearChoice({}));
  EXPECT_EQ(report.linears.front().kind, "dense");
  EXPECT_TENSOR_NEAR(logits(), factored, 1e-4 * factored.abs().max().item<double>());
}

TEST_F(CompressModelTest, FactoringAFactoredModelStartsFromItsProduct) {
  factor("fraction:1");
  const auto before = logits();
  factor("fraction:1");
  EXPECT_TENSOR_NEAR(logits(), before, 1e-4 * before.abs().max().item<double>());
}

TEST_F(CompressModelTest, AChoiceThatMatchesNothingNamesSomePaths) {
  EXPECT_THAT(testing::error_text<ConfigError>([&] { factor("break_even", {"attn.qkv"}); }),
              HasSubstr("model.layers.0.self_attn.q_proj"));
  EXPECT_THAT(testing::error_text<ConfigError>([&] { factor("break_even", {"("}); }),
              HasSubstr("regular expression"));
  EXPECT_THAT(testing::error_text<ConfigError>(
                  [&] { make_linears_dense(model->slots(), LinearChoice({})); }),
              HasSubstr("factored"));
}

TEST_F(CompressModelTest, ALayerOfAKindThatNoMatrixStandsForIsNamed) {
  auto& slot = model->slots()[2];
  slot.replace(
      std::make_shared<testing::OddLinear>(slot.get().in_features(), slot.get().out_features()));
  EXPECT_EQ(testing::error_text<ConfigError>([&] { factor("break_even"); }),
            slot.path() + ": compress cannot make a matrix of a layer of kind 'odd'");
}

}  // namespace
}  // namespace lowbank
