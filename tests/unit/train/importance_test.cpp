#include "train/importance.h"

#include <fstream>

#include "core/error.h"
#include "error_text.h"
#include "train_test_support.h"
#include "unit/nn/test_layers.h"

namespace lowbank {
namespace {

class ImportanceTest : public testing::SeededTest {
 protected:
  testing::TempFolder folder_;
};

TEST_F(ImportanceTest, OfOneExampleIsTheSizeOfAutogradsGradientOfTheScales) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto importance = collect_importance(*model, data, /*max_examples=*/1, /*batch_size=*/4);
  (testing::next_token_loss(*model, data.batch(std::vector<std::int64_t>{0})) / 15.0).backward();
  const auto linears = factored_linears(*model);
  ASSERT_EQ(linears.size(), 14u);
  for (const auto& [path, linear] : linears) {
    const auto& layer = importance.layers.at(path);
    const auto grad_R = linear->s.grad();
    EXPECT_GT(grad_R.abs().max().item<double>(), 1e-4) << path;
    // float32 sums over 15 tokens of values below 1.
    EXPECT_TENSOR_NEAR(layer.at("abs_grad"), grad_R.abs(), 1e-6);
    EXPECT_TENSOR_NEAR(layer.at("signed"), grad_R.abs(), 1e-6);
    EXPECT_TENSOR_NEAR(layer.at("fisher"), grad_R.square(), 1e-6);
  }
}

TEST_F(ImportanceTest, DoesNotDependOnTheBatchSize) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto single = collect_importance(*model, data, 10, 1);
  const auto batched = collect_importance(*model, data, 10, 4);
  EXPECT_EQ(single.num_examples, 10);
  EXPECT_EQ(batched.num_examples, 10);
  for (const auto& [path, measures] : single.layers) {
    for (const auto& [measure, values_R] : measures) {
      // Per-example gradients below 1, float32, GEMMs of other shapes.
      EXPECT_TENSOR_NEAR(values_R, batched.layers.at(path).at(measure), 1e-6);
    }
  }
}

TEST_F(ImportanceTest, IsTheMeanOverTheExamples) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto both = collect_importance(*model, data, 2, 2);
  std::map<std::string, torch::Tensor> abs_sum, signed_sum;
  for (const std::int64_t example : {0, 1}) {
    (testing::next_token_loss(*model, data.batch(std::vector<std::int64_t>{example})) / 15.0)
        .backward();
    for (const auto& [path, linear] : factored_linears(*model)) {
      const auto grad_R = linear->s.grad().clone();
      abs_sum[path] = example == 0 ? grad_R.abs() : abs_sum[path] + grad_R.abs();
      signed_sum[path] = example == 0 ? grad_R : signed_sum[path] + grad_R;
      linear->s.mutable_grad() = torch::Tensor();
    }
  }
  for (const auto& [path, measures] : both.layers) {
    EXPECT_TENSOR_NEAR(measures.at("abs_grad"), abs_sum[path] / 2, 1e-6);
    EXPECT_TENSOR_NEAR(measures.at("signed"), (signed_sum[path] / 2).abs(), 1e-6);
  }
}

TEST_F(ImportanceTest, BaselinesAreTheScalesThemselvesAndTheirOrder) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto importance = collect_importance(*model, data, 1, 1);
  for (const auto& [path, linear] : factored_linears(*model)) {
    const auto& layer = importance.layers.at(path);
    EXPECT_TRUE(layer.at("magnitude").equal(linear->s.abs()));
    EXPECT_TRUE(layer.at("rank_order").equal(torch::tensor({5.f, 4.f, 3.f, 2.f, 1.f})));
  }
}

TEST_F(ImportanceTest, LeavesTheModelAsItWas) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto before = testing::copy_parameters(*model);
  const auto* const former = factored_linears(*model).front().linear;
  collect_importance(*model, data, 3, 2);
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(item.value().requires_grad()) << item.key();
    EXPECT_FALSE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().equal(before.at(item.key()))) << item.key();
  }
  EXPECT_EQ(factored_linears(*model).front().linear, former);
}

TEST_F(ImportanceTest, SeesTheFactorsUnderAnAdapterAndNamesAnotherKind) {
  const auto data = testing::toy_dataset(folder_);
  const auto model = testing::factored_tiny_model();
  const auto without = collect_importance(*model, data, 2, 2);
  for (auto& slot : model->slots()) {
    slot.wrap([](auto base) { return std::make_shared<testing::ZeroAdapter>(std::move(base)); });
  }
  const auto under = collect_importance(*model, data, 2, 2);
  for (const auto& [path, measures] : without.layers) {
    for (const auto& [measure, values_R] : measures) {
      // The adapters' part of the gradients below is zero; sums of another shape.
      EXPECT_TENSOR_NEAR(under.layers.at(path).at(measure), values_R, 1e-6);
    }
  }
  auto& slot = model->slots()[1];
  slot.replace(
      std::make_shared<testing::OddLinear>(slot.get().in_features(), slot.get().out_features()));
  EXPECT_EQ(testing::error_text<ConfigError>([&] { collect_importance(*model, data, 1, 1); }),
            slot.path() + ": importance cannot work on a layer of kind 'odd'");
}

TEST_F(ImportanceTest, TopShareIsTheRankFractionWhenAllRanksMatterAlike) {
  const auto even_R = torch::ones({10});
  for (const double frac : {0.0, 0.05, 0.37, 1.0})
    EXPECT_NEAR(top_share(even_R, frac), frac, 1e-12);
  EXPECT_DOUBLE_EQ(top_share(torch::zeros({4}), 0.25), 0.25);
}

TEST_F(ImportanceTest, TopShareTakesTheLargestFirstAndPartsOfARank) {
  const auto values_R = torch::tensor({1.f, 6.f, 3.f, 0.f});
  EXPECT_DOUBLE_EQ(top_share(values_R, 0.25), 0.6);
  EXPECT_DOUBLE_EQ(top_share(values_R, 0.125), 0.3);
  EXPECT_DOUBLE_EQ(top_share(values_R, 0.375), 0.75);
  EXPECT_DOUBLE_EQ(top_share(values_R, 1.0), 1.0);
}

RankImportance sample_importance() {
  return {
      .num_examples = 7,
      .layers = {{"a.q_proj",
                  {{"abs_grad", torch::tensor({1.f, 2.f})}, {"signed", torch::tensor({3.f, 4.f})}}},
                 {"b", {{"abs_grad", torch::tensor({5.f})}}}}};
}

TEST_F(ImportanceTest, FileGivesBackWhatWasWritten) {
  folder_.file("model.safetensors", "weights");
  write_importance(folder_.path(), sample_importance());
  const auto layers = read_importance(folder_.path(), "abs_grad");
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_TRUE(layers.at("a.q_proj").equal(torch::tensor({1.f, 2.f})));
  EXPECT_TRUE(layers.at("b").equal(torch::tensor({5.f})));
}

TEST_F(ImportanceTest, FileOfOtherWeightsIsRefused) {
  folder_.file("model.safetensors", "weights");
  write_importance(folder_.path(), sample_importance());
  folder_.file("model.safetensors", "Weights");
  EXPECT_THROW(read_importance(folder_.path(), "abs_grad"), IoError);
}

TEST_F(ImportanceTest, FileThatIsMissingOrHasNoSuchMeasureIsReported) {
  folder_.file("model.safetensors", "weights");
  EXPECT_THROW(read_importance(folder_.path(), "abs_grad"), IoError);
  write_importance(folder_.path(), sample_importance());
  EXPECT_THROW(read_importance(folder_.path(), "fisher"), ConfigError);
}

}  // namespace
}  // namespace lowbank
