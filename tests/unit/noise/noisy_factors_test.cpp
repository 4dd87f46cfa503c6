#include "noise/noisy_factors.h"

#include <ATen/ops/full.h>

#include "compress/compress_model.h"
#include "core/error.h"
#include "error_text.h"
#include "noise/rank_selection.h"
#include "torch_support.h"
#include "unit/models/tiny_llama.h"
#include "unit/nn/test_layers.h"

namespace lowbank {
namespace {

class NoisyFactorsTest : public testing::SeededTest {
 protected:
  void SetUp() override {
    SeededTest::SetUp();
    factor_linears(model->slots(), LinearChoice({}), RankPolicy("break_even"), [](std::int64_t) {});
  }
  torch::Tensor logits() {
    const torch::NoGradGuard guard;
    return model->forward(ids);
  }
  std::vector<torch::Tensor> masks(const NoisyFactors& factors, bool value) const {
    std::vector<torch::Tensor> out;
    for (std::size_t i = 0; i < factors.num_layers(); ++i) {
      out.push_back(at::full({factors.rank(i)}, value, at::kBool));
    }
    return out;
  }

  std::shared_ptr<LanguageModel> model = testing::tiny_llama();
  torch::Tensor ids = testing::random_ids(2, 8);
  NoiseOptions noise;
};

TEST_F(NoisyFactorsTest, ZeroNoiseIsTheQuantisedModelBitForBit) {
  noise.sigma = 0;
  NoisyFactors factors(model->slots(), noise);
  const auto quantised = logits();
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  EXPECT_TRUE(logits().equal(quantised));
}

TEST_F(NoisyFactorsTest, ProtectingEveryRankIsTheQuantisedModelBitForBit) {
  noise.sigma = 0.3;
  NoisyFactors factors(model->slots(), noise);
  const auto quantised = logits();
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  EXPECT_FALSE(logits().equal(quantised)) << "the noise must do something";
  factors.protect(masks(factors, true));
  EXPECT_TRUE(logits().equal(quantised));
}

TEST_F(NoisyFactorsTest, TheModelIsAsBeforeAfterwards) {
  const auto before = logits();
  {
    NoisyFactors factors(model->slots(), noise);
    factors.draw(RandomKey(1));
    factors.protect(masks(factors, false));
    EXPECT_FALSE(logits().equal(before));
  }
  EXPECT_TRUE(logits().equal(before));
}

TEST_F(NoisyFactorsTest, AProtectedRankIsExactAndTheOthersKeepTheirNoise) {
  NoisyFactors factors(model->slots(), noise);
  const auto layer_in_slot = [&]() -> SvdLinear& {
    return *find_layer<SvdLinear>(model->slots().front());
  };
  const auto clean_u = layer_in_slot().u.clone(), clean_vh = layer_in_slot().vh.clone();
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  const auto noisy_u = layer_in_slot().u.clone(), noisy_vh = layer_in_slot().vh.clone();
  auto mask = masks(factors, false);
  mask[0][2] = true;
  factors.protect(mask);
  const auto u = layer_in_slot().u, vh = layer_in_slot().vh;
  EXPECT_TRUE(u.select(1, 2).equal(clean_u.select(1, 2)));
  EXPECT_TRUE(vh.select(0, 2).equal(clean_vh.select(0, 2)));
  EXPECT_TRUE(u.select(1, 1).equal(noisy_u.select(1, 1)));
  EXPECT_TRUE(vh.select(0, 1).equal(noisy_vh.select(0, 1)));
  EXPECT_FALSE(noisy_u.equal(clean_u));
}

TEST_F(NoisyFactorsTest, EveryFactoredLayerGetsNoise) {
  NoisyFactors factors(model->slots(), noise);
  EXPECT_EQ(factors.num_layers(), 14u);  // q, k, v, o, gate, up, down of two layers
  std::vector<torch::Tensor> clean, noisy;
  const auto collect = [&](std::vector<torch::Tensor>& out) {
    for (const auto& slot : model->slots()) {
      if (auto* svd = find_layer<SvdLinear>(slot)) {
        out.push_back(svd->u.clone());
        out.push_back(svd->vh.clone());
      }
    }
  };
  collect(clean);
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  collect(noisy);
  for (std::size_t i = 0; i < clean.size(); ++i) EXPECT_FALSE(clean[i].equal(noisy[i])) << i;
}

TEST_F(NoisyFactorsTest, AnAdapterOverTheFactorsChangesNothingAboutTheirNoise) {
  const auto noisy = [&] {
    NoisyFactors factors(model->slots(), noise);
    factors.draw(RandomKey(1));
    factors.protect(masks(factors, false));
    return logits();
  };
  const auto without = noisy();
  const auto before = logits();
  for (auto& slot : model->slots()) {
    slot.wrap([](auto base) { return std::make_shared<testing::ZeroAdapter>(std::move(base)); });
  }
  EXPECT_TRUE(noisy().equal(without));
  EXPECT_TRUE(logits().equal(before));
  for (const auto& slot : model->slots()) EXPECT_EQ(slot.get().kind(), "zero_adapter");
}

TEST_F(NoisyFactorsTest, ALayerOfAnotherKindIsNamedAndNothingIsChanged) {
  const auto& first = model->slots().front().pointer();
  auto& slot = model->slots().back();
  slot.replace(
      std::make_shared<testing::OddLinear>(slot.get().in_features(), slot.get().out_features()));
  EXPECT_EQ(testing::error_text<ConfigError>([&] { NoisyFactors(model->slots(), noise); }),
            slot.path() + ": noise cannot work on a layer of kind 'odd'");
  EXPECT_EQ(model->slots().front().pointer(), first);
}

}  // namespace
}  // namespace lowbank
