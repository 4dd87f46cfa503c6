#include "noise/noisy_factors.h"

#include <ATen/ops/full.h>

#include "compress/compress_model.h"
#include "noise/rank_selection.h"
#include "torch_support.h"
#include "unit/models/tiny_llama.h"

namespace lowbank {
namespace {

class NoisyFactorsTest : public testing::SeededTest {
 protected:
  void SetUp() override {
    SeededTest::SetUp();
    factor_linears(walk, LinearChoice({}), RankPolicy("break_even"), [](std::int64_t) {});
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
  SlotWalk walk = [this](const SlotVisitor& visit) { model->visit_linears(visit); };
  NoiseOptions noise;
};

TEST_F(NoisyFactorsTest, ZeroNoiseIsTheQuantisedModelBitForBit) {
  noise.sigma = 0;
  NoisyFactors factors(walk, noise);
  const auto quantised = logits();
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  EXPECT_TRUE(logits().equal(quantised));
}

TEST_F(NoisyFactorsTest, ProtectingEveryRankIsTheQuantisedModelBitForBit) {
  noise.sigma = 0.3;
  NoisyFactors factors(walk, noise);
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
    NoisyFactors factors(walk, noise);
    factors.draw(RandomKey(1));
    factors.protect(masks(factors, false));
    EXPECT_FALSE(logits().equal(before));
  }
  EXPECT_TRUE(logits().equal(before));
}

TEST_F(NoisyFactorsTest, AProtectedRankIsExactAndTheOthersKeepTheirNoise) {
  NoisyFactors factors(walk, noise);
  const auto layer_in_slot = [&]() -> SvdLinear& {
    SvdLinear* first = nullptr;
    walk([&](const std::string&, LinearSlot& slot) {
      if (first == nullptr) first = dynamic_cast<SvdLinear*>(&slot.get());
    });
    return *first;
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
  NoisyFactors factors(walk, noise);
  EXPECT_EQ(factors.num_layers(), 14u);  // q, k, v, o, gate, up, down of two layers
  std::vector<torch::Tensor> clean, noisy;
  const auto collect = [&](std::vector<torch::Tensor>& out) {
    walk([&](const std::string&, LinearSlot& slot) {
      if (auto* svd = dynamic_cast<SvdLinear*>(&slot.get())) {
        out.push_back(svd->u.clone());
        out.push_back(svd->vh.clone());
      }
    });
  };
  collect(clean);
  factors.draw(RandomKey(1));
  factors.protect(masks(factors, false));
  collect(noisy);
  for (std::size_t i = 0; i < clean.size(); ++i) EXPECT_FALSE(clean[i].equal(noisy[i])) << i;
}

}  // namespace
}  // namespace lowbank
