#include "nn/linear.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include "nn/dense_linear.h"
#include "nn/svd_linear.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kIn = 7, kOut = 5;

std::shared_ptr<SvdLinear> svd_of(const DenseLinear& dense, std::int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(dense.weight.detach(), /*full_matrices=*/false);
  return std::make_shared<SvdLinear>(u.narrow(1, 0, rank).clone(), s.narrow(0, 0, rank).clone(),
                                     vh.narrow(0, 0, rank).clone(),
                                     dense.bias.defined() ? dense.bias.detach() : torch::Tensor());
}

std::vector<std::string> parameter_names(const torch::nn::Module& module) {
  std::vector<std::string> names;
  for (const auto& parameter : module.named_parameters()) names.push_back(parameter.key());
  return names;
}

/// A module with one slot, as models have many.
class Block : public torch::nn::Module {
 public:
  explicit Block(std::shared_ptr<Linear> linear)
      : proj(*this, "proj", LinearRole::kMlp, std::move(linear)) {}
  LinearSlot proj;
};

class LinearTest : public testing::SeededTest {
 protected:
  static std::shared_ptr<DenseLinear> dense() {
    return std::make_shared<DenseLinear>(at::randn({kOut, kIn}), at::randn({kOut}));
  }
};

TEST_F(LinearTest, FullRankReproducesTheDenseLayer) {
  const auto layer = dense();
  const auto factored = svd_of(*layer, kOut);
  const auto x = at::randn({2, 3, kIn});
  EXPECT_TENSOR_NEAR(factored->forward(x), layer->forward(x), 1e-5);  // float32, GEMMs of size 7
  EXPECT_TENSOR_NEAR(factored->dense_weight(), layer->weight, 1e-5);
}

TEST_F(LinearTest, ParametersLieInMemoryAsInAFileWhateverTheyWereMadeFrom) {
  const SvdLinear factored(at::randn({3, kOut}).t(), at::randn({6}).slice(0, 0, 6, 2),
                           at::randn({kIn, 3}).t(), {});
  for (const auto& parameter : factored.parameters()) EXPECT_TRUE(parameter.is_contiguous());
  EXPECT_TRUE(DenseLinear(at::randn({kIn, kOut}).t(), {}).weight.is_contiguous());
}

TEST_F(LinearTest, TruncationKeepsTheProductOfTheKeptRanks) {
  const auto factored = svd_of(*dense(), 2);
  const auto x = at::randn({4, kIn});
  EXPECT_TENSOR_NEAR(factored->forward(x), at::linear(x, factored->dense_weight(), factored->bias),
                     1e-5);
  EXPECT_EQ(factored->rank(), 2);
}

TEST_F(LinearTest, FactorsHoldExactlyTheParametersOfTheirRank) {
  const auto factored = svd_of(*dense(), 3);
  std::int64_t total = 0;
  for (const auto& parameter : factored->parameters()) total += parameter.numel();
  EXPECT_EQ(total, 3 * (kIn + kOut) + 3 + kOut);
}

TEST_F(LinearTest, StagesMultiplyToTheWorkOfTheLayer) {
  const auto layer = dense();
  ASSERT_EQ(layer->stages().size(), 1u);
  EXPECT_EQ(layer->stages()[0].in_features, kIn);
  EXPECT_EQ(layer->stages()[0].out_features, kOut);
  const auto stages = svd_of(*layer, 3)->stages();
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].in_features, kIn);
  EXPECT_EQ(stages[0].out_features, 3);
  EXPECT_EQ(stages[1].in_features, 3);
  EXPECT_EQ(stages[1].out_features, kOut);
}

TEST_F(LinearTest, TheHookSeesTheProductThatTheOutputIsMadeOf) {
  const auto factored = svd_of(*dense(), 3);
  torch::Tensor seen_h, seen_scaled;
  factored->on_scaled = [&](const torch::Tensor& h, const torch::Tensor& scaled) {
    seen_h = h;
    seen_scaled = scaled;
    scaled.retain_grad();
  };
  const auto x = at::randn({4, kIn});
  const auto y = factored->forward(x);
  EXPECT_TENSOR_NEAR(seen_h, at::linear(x, factored->vh), 0.0);
  EXPECT_TENSOR_NEAR(y, at::linear(seen_scaled, factored->u, factored->bias), 0.0);
  // The gradient of s is that of the scaled product times h: what the importance pass relies on.
  y.square().sum().backward();
  EXPECT_TENSOR_NEAR(factored->s.grad(), (seen_scaled.grad() * seen_h).sum(0), 1e-4);
}

TEST_F(LinearTest, ReplacingALayerRenamesOnlyItsParameters) {
  Block block(dense());
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.weight", "proj.bias"));
  const auto factored = svd_of(static_cast<DenseLinear&>(block.proj.get()), kOut);
  const auto x = at::randn({4, kIn});
  const auto before = block.proj(x);
  block.proj.replace(factored);
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.u", "proj.s", "proj.vh", "proj.bias"));
  EXPECT_EQ(&block.proj.get(), factored.get());
  EXPECT_TENSOR_NEAR(block.proj(x), before, 1e-5);
  EXPECT_EQ(block.proj.role(), LinearRole::kMlp);
}

TEST_F(LinearTest, AReplacementTakesOverTheTrainingMode) {
  Block block(dense());
  block.eval();
  const auto factored = svd_of(*dense(), 2);
  ASSERT_TRUE(factored->is_training());
  block.proj.replace(factored);
  EXPECT_FALSE(factored->is_training());
}

TEST_F(LinearTest, ASlotRefusesALayerOfOtherFeatures) {
  Block block(dense());
  try {
    block.proj.replace(std::make_shared<DenseLinear>(at::randn({kOut, kIn + 1}), torch::Tensor()));
    FAIL() << "accepted";
  } catch (const c10::Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("'proj' maps 7 to 5 features, the new layer 8 to 5"));
  }
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.weight", "proj.bias"));
}

TEST_F(LinearTest, WrongShapesAreRefused) {
  const auto x = at::randn({2, kIn + 1});
  EXPECT_THROW(dense()->forward(x), c10::Error);
  EXPECT_THROW(svd_of(*dense(), 2)->forward(x), c10::Error);
  EXPECT_THROW(DenseLinear(at::randn({kOut, kIn}), at::randn({kIn})), c10::Error);
  EXPECT_THROW(SvdLinear(at::randn({kOut, 3}), at::randn({2}), at::randn({3, kIn}), {}),
               c10::Error);
}

TEST_F(LinearTest, ALayerWithoutBiasHasNoBiasParameter) {
  const DenseLinear layer(at::randn({kOut, kIn}), torch::Tensor());
  EXPECT_THAT(parameter_names(layer), ElementsAre("weight"));
  EXPECT_THAT(parameter_names(*svd_of(layer, 2)), ElementsAre("u", "s", "vh"));
}

}  // namespace
}  // namespace lowbank
