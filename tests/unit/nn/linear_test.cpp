#include "nn/linear.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "error_text.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"
#include "test_layers.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::OddLinear;
using testing::OutputMask;
using testing::ZeroAdapter;

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
      : proj(*this, "block.proj", LinearRole::kMlp, std::move(linear)) {}
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
  EXPECT_TENSOR_NEAR(factored->forward(x, Pass{}), layer->forward(x, Pass{}),
                     1e-5);  // float32, GEMMs of size 7
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
  EXPECT_TENSOR_NEAR(factored->forward(x, Pass{}),
                     at::linear(x, factored->dense_weight(), factored->bias), 1e-5);
  EXPECT_EQ(factored->rank(), 2);
}

TEST_F(LinearTest, FactorsHoldExactlyTheParametersOfTheirRank) {
  const auto factored = svd_of(*dense(), 3);
  std::int64_t total = 0;
  for (const auto& parameter : factored->parameters()) total += parameter.numel();
  EXPECT_EQ(total, 3 * (kIn + kOut) + 3 + kOut);
}

TEST_F(LinearTest, ProductsAreTheWorkOfTheLayer) {
  const auto layer = dense();
  ASSERT_EQ(layer->products().size(), 1u);
  EXPECT_EQ(layer->products()[0].in_features, kIn);
  EXPECT_EQ(layer->products()[0].out_features, kOut);
  EXPECT_EQ(layer->products()[0].factored_as, "");
  const auto products = svd_of(*layer, 3)->products();
  ASSERT_EQ(products.size(), 2u);
  EXPECT_EQ(products[0].in_features, kIn);
  EXPECT_EQ(products[0].out_features, 3);
  EXPECT_EQ(products[1].in_features, 3);
  EXPECT_EQ(products[1].out_features, kOut);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(products[i].factored_as, "svd");
    EXPECT_EQ(products[i].stage, static_cast<std::int64_t>(i));
    EXPECT_EQ(products[i].rank, 3);
  }
}

TEST_F(LinearTest, ADenseMatrixStandsForALayerOnlyWhereThereIsOne) {
  const auto layer = dense();
  EXPECT_TRUE(layer->as_dense()->weight_OI.is_same(layer->weight));
  EXPECT_TRUE(layer->as_dense()->bias_O.is_same(layer->bias));
  const auto factored = svd_of(*layer, kOut);
  EXPECT_FALSE(factored->as_dense().has_value());
  EXPECT_TENSOR_NEAR(factored->to_dense()->weight_OI, layer->weight, 1e-5);
  EXPECT_FALSE(ZeroAdapter(layer).as_dense().has_value());
}

TEST_F(LinearTest, SelectingFeaturesAndBackIsTheSameLayer) {
  const auto in = at::randperm(kIn), out = at::randperm(kOut);
  const auto layer = dense();
  const std::vector<std::shared_ptr<Linear>> layers = {dense(), svd_of(*layer, 3),
                                                       std::make_shared<ZeroAdapter>(dense())};
  for (const auto& each : layers) {
    const auto x = at::randn({4, kIn});
    const auto y = each->forward(x, Pass{});
    each->select(Side::kIn, in);
    each->select(Side::kOut, out);
    // A permuted input gives the permuted output: float32 sums in another order.
    EXPECT_TENSOR_NEAR(each->forward(x.index_select(1, in), Pass{}), y.index_select(1, out), 1e-5);
    each->select(Side::kIn, in.argsort());
    each->select(Side::kOut, out.argsort());
    EXPECT_TENSOR_NEAR(each->forward(x, Pass{}), y, 0.0);
    each->select(Side::kOut, at::arange(2));
    EXPECT_EQ(each->out_features(), 2);
    EXPECT_TENSOR_NEAR(each->forward(x, Pass{}), y.narrow(1, 0, 2), 1e-5);
  }
}

TEST_F(LinearTest, ReplacingALayerRenamesOnlyItsParameters) {
  Block block(dense());
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.weight", "proj.bias"));
  const auto factored = svd_of(static_cast<DenseLinear&>(block.proj.get()), kOut);
  const auto x = at::randn({4, kIn});
  const auto before = block.proj(x, Pass{});
  block.proj.replace(factored);
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.u", "proj.s", "proj.vh", "proj.bias"));
  EXPECT_EQ(&block.proj.get(), factored.get());
  EXPECT_TENSOR_NEAR(block.proj(x, Pass{}), before, 1e-5);
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
    EXPECT_THAT(e.what(), HasSubstr("'block.proj' maps 7 to 5 features, the new layer 8 to 5"));
  }
  EXPECT_THAT(parameter_names(block), ElementsAre("proj.weight", "proj.bias"));
}

TEST_F(LinearTest, AZeroAdapterOverFactorsUnderAFullMaskGivesTheBitsOfTheFactors) {
  Block block(svd_of(*dense(), 3));
  const auto x = at::randn({4, kIn});
  const auto factors = block.proj(x, Pass{});
  block.proj.wrap([](auto base) { return std::make_shared<OutputMask>(std::move(base)); });
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  EXPECT_TRUE(block.proj(x, Pass{}).equal(factors));
  find_layer<ZeroAdapter>(block.proj)->b.detach().fill_(1.0);
  EXPECT_FALSE(block.proj(x, Pass{}).equal(factors));
}

TEST_F(LinearTest, TheStackIsSeenThroughAndNamesInFilesDoNotShowIt) {
  Block block(svd_of(*dense(), 3));
  block.proj.wrap([](auto base) { return std::make_shared<OutputMask>(std::move(base)); });
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  ASSERT_EQ(block.proj.layers().size(), 3u);
  EXPECT_EQ(block.proj.layers()[0], find_layer<ZeroAdapter>(block.proj));
  EXPECT_EQ(block.proj.layers()[2], find_layer<SvdLinear>(block.proj));
  EXPECT_EQ(find_layer<DenseLinear>(block.proj), nullptr);
  const auto record = block.proj.record();
  EXPECT_EQ(record.path, "block.proj");
  const std::vector<LayerRecord> layers = {{.kind = "svd", .settings = {{"rank", 3L}}},
                                           {.kind = "output_mask"},
                                           {.kind = "zero_adapter"}};
  EXPECT_EQ(record.layers, layers);
  std::vector<std::string> names;
  for (const auto& name : parameter_names(block)) names.push_back(stored_name(name));
  EXPECT_THAT(names, ElementsAre("proj.a", "proj.b", "proj.keep", "proj.u", "proj.s", "proj.vh",
                                 "proj.bias"));
}

TEST_F(LinearTest, UnwrappingTakesAWrapperOutFromAnyPlace) {
  const auto layer = dense();
  Block block(layer);
  const auto names = parameter_names(block);
  block.proj.wrap([](auto base) { return std::make_shared<OutputMask>(std::move(base)); });
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  EXPECT_EQ(block.proj.unwrap("output_mask")->kind(), "output_mask");
  EXPECT_EQ(block.proj.get().kind(), "zero_adapter");
  EXPECT_EQ(block.proj.get().base(), layer);
  block.proj.unwrap("zero_adapter");
  EXPECT_EQ(block.proj.pointer(), layer);
  EXPECT_EQ(parameter_names(block), names);
  EXPECT_THROW(block.proj.unwrap("zero_adapter"), c10::Error);
  EXPECT_THROW(block.proj.unwrap("dense"), c10::Error);
}

TEST_F(LinearTest, OneLayerOfAStackIsReplacedUnderWhatWrapsIt) {
  const auto layer = dense();
  Block block(layer);
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  block.eval();
  const auto x = at::randn({4, kIn});
  const auto before = block.proj(x, Pass{});
  const auto factored = svd_of(*layer, 2);
  block.proj.replace(*layer, factored);
  EXPECT_EQ(block.proj.get().kind(), "zero_adapter");
  EXPECT_TRUE(block.proj(x, Pass{}).equal(factored->forward(x, Pass{})));
  EXPECT_FALSE(factored->is_training());
  block.proj.replace(*factored, layer);
  EXPECT_TRUE(block.proj(x, Pass{}).equal(before));
  EXPECT_THROW(block.proj.replace(*factored, layer), c10::Error);
}

TEST_F(LinearTest, AWrapperMustWrapWhatIsInTheSlot) {
  Block block(dense());
  EXPECT_THROW(block.proj.wrap([](auto) { return std::make_shared<ZeroAdapter>(dense()); }),
               c10::Error);
  EXPECT_THROW(block.proj.wrap([](auto) { return dense(); }), c10::Error);
  EXPECT_EQ(block.proj.layers().size(), 1u);
}

/// Keeps the key of the last pass.
class KeyLinear : public DenseLinear {
 public:
  KeyLinear() : DenseLinear(at::randn({kOut, kIn}), {}) {}
  torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) override {
    key = pass.key;
    return DenseLinear::forward(x_I, pass);
  }
  std::optional<DenseMatrix> as_dense() const override { return std::nullopt; }
  std::optional<RandomKey> key;
};

TEST_F(LinearTest, TwoSlotsThatShareALayerDrawFromKeysOfTheirOwn) {
  const auto shared = std::make_shared<KeyLinear>();
  torch::nn::Module parent;
  const LinearSlot first(parent, "first", LinearRole::kMlp, shared);
  const LinearSlot second(parent, "second", LinearRole::kMlp, shared);
  const auto x = at::randn({1, kIn});
  const auto key_of = [&](const LinearSlot& slot, const Pass& pass) {
    slot(x, pass);
    return shared->key;
  };
  EXPECT_FALSE(key_of(first, {}).has_value());
  const Pass pass{.mask_BS = {}, .num_past = 0, .key = RandomKey(7)};
  const auto a = key_of(first, pass), b = key_of(second, pass);
  EXPECT_NE(a->stream(), b->stream());
  EXPECT_EQ(a->stream(), key_of(first, pass)->stream());
}

TEST_F(LinearTest, AnObserverSeesWhatGoesIntoASlotAloneOrInAGroup) {
  struct Inputs : InputObserver {
    void on_input(const std::string& path, const torch::Tensor& x_I) override {
      seen.emplace_back(path, x_I);
    }
    std::vector<std::pair<std::string, torch::Tensor>> seen;
  };
  const torch::NoGradGuard no_grad;  // the group of dense layers runs as one product
  Block block(dense());
  LinearSlot other(block, "block.other", LinearRole::kMlp, dense());
  Inputs inputs;
  block.proj.observe(&inputs);
  other.observe(&inputs);
  const auto x = at::randn({2, kIn});
  block.proj(x, Pass{});
  forward_group(x, Pass{}, {&block.proj, &other});
  ASSERT_EQ(inputs.seen.size(), 3u);
  EXPECT_EQ(inputs.seen[0].first, "block.proj");
  EXPECT_EQ(inputs.seen[2].first, "block.other");
  EXPECT_TRUE(inputs.seen[2].second.is_same(x));
  block.proj.observe(nullptr);
  block.proj(x, Pass{});
  EXPECT_EQ(inputs.seen.size(), 3u);
}

TEST_F(LinearTest, AGroupGivesTheBitsOfItsSlots) {
  const torch::NoGradGuard no_grad;
  Block block(dense());
  for (const auto& layer : std::vector<std::shared_ptr<Linear>>{dense(), svd_of(*dense(), 2)}) {
    LinearSlot other(block, "block." + std::string(layer->kind()), LinearRole::kMlp, layer);
    const auto x = at::randn({2, kIn});
    const auto together = forward_group(x, Pass{}, {&block.proj, &other});
    EXPECT_TRUE(together[0].equal(block.proj(x, Pass{})));
    EXPECT_TRUE(together[1].equal(other(x, Pass{})));
  }
}

TEST_F(LinearTest, FactorsAreFoundUnderWrappersAndAnUnknownKindIsNamed) {
  Block block(svd_of(*dense(), 3));
  auto* const factors = find_layer<SvdLinear>(block.proj);
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  EXPECT_EQ(find_factors(block.proj, "noise"), factors);
  block.proj.replace(dense());
  EXPECT_EQ(find_factors(block.proj, "noise"), nullptr);
  block.proj.replace(std::make_shared<OddLinear>(kIn, kOut));
  block.proj.wrap([](auto base) { return std::make_shared<ZeroAdapter>(std::move(base)); });
  EXPECT_EQ(testing::error_text<ConfigError>([&] { find_factors(block.proj, "noise"); }),
            "block.proj: noise cannot work on a layer of kind 'odd'");
}

TEST_F(LinearTest, WrongShapesAreRefused) {
  const auto x = at::randn({2, kIn + 1});
  EXPECT_THROW(dense()->forward(x, Pass{}), c10::Error);
  EXPECT_THROW(svd_of(*dense(), 2)->forward(x, Pass{}), c10::Error);
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
