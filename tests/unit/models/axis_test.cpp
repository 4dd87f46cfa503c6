#include "models/axis.h"

#include <cstring>
#include <string>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "nn/dense_linear.h"
#include "sample_models.h"
#include "tiny_llama.h"
#include "torch_support.h"
#include "unit/nn/test_layers.h"

namespace lowbank {
namespace {

using ModelJson = nlohmann::ordered_json;
using testing::kVocab;

class AxisTest : public testing::SeededTest {
 protected:
  /// Every family, with all parameters that it can have: norms, biases and heads drawn at random,
  /// so that a unit that is left where it was shows.
  static std::vector<std::shared_ptr<LanguageModel>> models() {
    std::vector<std::shared_ptr<LanguageModel>> models;
    for (const auto& config : testing::sample_models()) {
      for (const bool factored : {false, true}) {
        auto model = make_random_model(config, RandomKey(1), c10::kCPU, c10::kDouble);
        if (factored) testing::factorize(*model, 2);
        const torch::NoGradGuard no_grad;
        for (auto& parameter : model->parameters()) {
          if (parameter.dim() == 1) parameter.add_(0.3 * at::randn_like(parameter));
        }
        models.push_back(std::move(model));
      }
    }
    return models;
  }
  static NamedTensors parameters(const LanguageModel& model) {
    NamedTensors tensors;
    for (const auto& [name, tensor] : base_parameters(model)) {
      tensors.emplace_back(name, tensor.detach().clone());
    }
    return tensors;
  }
  static void put(LanguageModel& model, const NamedTensors& tensors) {
    const torch::NoGradGuard no_grad;
    auto own = base_parameters(model);
    ASSERT_EQ(own.size(), tensors.size());
    for (std::size_t i = 0; i < own.size(); ++i) own[i].second.copy_(tensors[i].second);
  }
  static torch::Tensor logits(LanguageModel& model) {
    const torch::NoGradGuard no_grad;
    return model.forward({at::arange(14).remainder_(kVocab).view({2, 7})});
  }
  static bool same_bytes(const NamedTensors& a, const NamedTensors& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i].first != b[i].first || !at::equal(a[i].second, b[i].second)) return false;
    }
    return a.size() == b.size();
  }
};

TEST_F(AxisTest, PermutingAnAxisLeavesTheLogitsAndInvertingItTheBytes) {
  for (const auto& model : models()) {
    const auto before = parameters(*model);
    const auto expected = logits(*model);
    ASSERT_GE(model->axes().size(), 5u);
    for (const auto& axis : model->axes()) {
      const auto label = model->config().dump() + " " + axis.name;
      auto perm_N = at::randperm(axis.size, at::kLong);
      if (at::equal(perm_N, at::arange(axis.size))) perm_N = perm_N.flip(0);
      auto tensors = before;
      keep_on_axis(tensors, axis, perm_N);
      EXPECT_FALSE(same_bytes(tensors, before)) << label;
      put(*model, tensors);
      // Hidden states, where there is no head, move with their axis.
      const bool moves = model->head_kind() == HeadKind::kNone && axis.name == "hidden";
      const auto wanted = moves ? expected.index_select(-1, perm_N) : expected;
      // float64; only the order of sums differs.
      EXPECT_LT((logits(*model) - wanted).abs().max().item<double>(),
                1e-12 * expected.abs().max().item<double>())
          << label;
      keep_on_axis(tensors, axis, perm_N.argsort());
      EXPECT_TRUE(same_bytes(tensors, before)) << label;
      put(*model, before);
    }
  }
}

TEST_F(AxisTest, TheWholeAxisInItsOrderIsTheIdentity) {
  for (const auto& model : models()) {
    const auto before = parameters(*model);
    for (const auto& axis : model->axes()) {
      auto tensors = before;
      keep_on_axis(tensors, axis, at::arange(axis.size));
      EXPECT_TRUE(same_bytes(tensors, before)) << axis.name;
    }
  }
}

TEST_F(AxisTest, UnitsThatAreLeftOutTakeEveryEntryOfTheirs) {
  const auto model = make_random_model(testing::small_mamba(), RandomKey(1));
  for (const auto& axis : model->axes()) {
    if (axis.name != "backbone.layers.0.mixer.inner") continue;
    auto tensors = parameters(*model);
    keep_on_axis(tensors, axis, at::arange(0, axis.size, 2));
    std::map<std::string, torch::Tensor> by_name(tensors.begin(), tensors.end());
    const std::string path = "backbone.layers.0.mixer.";
    const auto full = base_parameters(*model);
    for (const auto& [name, tensor] : full) {
      if (name != path + "in_proj.weight") continue;
      // Every second channel of both halves.
      EXPECT_TRUE(at::equal(by_name.at(name), tensor.slice(0, 0, tensor.size(0), 2)));
    }
    EXPECT_EQ(by_name.at(path + "A_log").size(0), axis.size / 2);
    EXPECT_EQ(by_name.at(path + "x_proj.weight").size(1), axis.size / 2);
    EXPECT_EQ(by_name.at("backbone.layers.1.mixer.A_log").size(0), axis.size);
  }
}

TEST_F(AxisTest, AdaptersMasksAndOptimizerStateGoAlong) {
  const auto model = testing::tiny_llama();
  auto& slot = model->slots()[5];  // up_proj of layer 0
  slot.wrap([](auto base) { return std::make_shared<testing::OutputMask>(std::move(base)); });
  slot.wrap([](auto base) { return std::make_shared<testing::ZeroAdapter>(std::move(base)); });
  const auto axes = model->axes();
  const auto axis = std::find_if(axes.begin(), axes.end(), [](const Axis& candidate) {
    return candidate.name == "model.layers.0.mlp";
  });
  ASSERT_NE(axis, axes.end());
  const std::string path = slot.path();
  NamedTensors tensors = {{path + ".weight.exp_avg", at::randn({axis->size, 3})},
                          {path + ".b", at::randn({axis->size, 2})},
                          {path + ".keep", at::randn({axis->size})},
                          {path + ".weights", at::randn({axis->size})},
                          {path + ".a", at::randn({axis->size, 4})}};
  const auto before = tensors;
  const auto perm_N = at::randperm(axis->size, at::kLong);
  keep_on_axis(tensors, *axis, perm_N);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::equal(tensors[i].second, before[i].second.index_select(0, perm_N))) << i;
  }
  for (std::size_t i = 3; i < 5; ++i) {
    EXPECT_TRUE(at::equal(tensors[i].second, before[i].second)) << i;
  }
}

TEST_F(AxisTest, AnIndexThatDoesNotFitIsRefused) {
  Axis axis{.name = "x", .size = 3, .uses = {}};
  axis.add("w", 0, 1, 2);
  NamedTensors tensors = {{"w", at::zeros({7})}};
  EXPECT_NO_THROW(keep_on_axis(tensors, axis, at::arange(2)));
  EXPECT_EQ(tensors[0].second.size(0), 5);
  EXPECT_THROW(keep_on_axis(tensors, axis, at::arange(2)), c10::Error);  // too short by now
  tensors = {{"w", at::zeros({7})}};
  EXPECT_THROW(keep_on_axis(tensors, axis, at::arange(1, 4)), c10::Error);
  EXPECT_THROW(keep_on_axis(tensors, axis, at::zeros({2})), c10::Error);
  EXPECT_THROW(keep_on_axis(tensors, axis, at::zeros({1, 2}, at::kLong)), c10::Error);
}

}  // namespace
}  // namespace lowbank
