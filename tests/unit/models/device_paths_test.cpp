// What tensors on a GPU go through, run here: the path without the CPU's own loops, and tensors
// without any memory that a kernel could read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ExpandUtils.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/result_type.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>

#include "kernels/cpu/cpu_isa.h"
#include "kernels/cross_entropy.h"
#include "kernels/small_linear.h"
#include "sample_models.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::kVocab;
using ModelJson = nlohmann::ordered_json;
using torch::Tensor;

// LibTorch has the meta kernels of these operators in Python only: their shapes, without values.
TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl(
      "convolution_overrideable",
      [](const Tensor& x, const Tensor& weight, const std::optional<Tensor>&, c10::SymIntArrayRef,
         c10::SymIntArrayRef padding, c10::SymIntArrayRef, bool, c10::SymIntArrayRef, c10::SymInt) {
        // With stride and dilation 1: what Mamba has.
        std::vector<std::int64_t> sizes = {x.size(0), weight.size(0)};
        for (std::size_t i = 0; i < padding.size(); ++i) {
          const auto dim = static_cast<std::int64_t>(i) + 2;
          sizes.push_back(x.size(dim) + 2 * padding[i].expect_int() - weight.size(dim) + 1);
        }
        return at::empty(sizes, x.options());
      });
  library.impl("index_select", [](const Tensor& x, std::int64_t dim, const Tensor& index) {
    auto sizes = x.sizes().vec();
    sizes[static_cast<std::size_t>(dim)] = index.numel();
    return at::empty(sizes, x.options());
  });
  for (const char* name : {"logical_and.out", "logical_or.out", "logical_xor.out"}) {
    library.impl(name, [](const Tensor& x, const Tensor& y, Tensor& out) -> Tensor& {
      out.resize_(at::infer_size(x.sizes(), y.sizes()));
      return out;
    });
  }
  library.impl("logical_not.out", [](const Tensor& x, Tensor& out) -> Tensor& {
    out.resize_(x.sizes());
    return out;
  });
  library.impl("native_layer_norm",
               [](const Tensor& x, c10::SymIntArrayRef shape, const std::optional<Tensor>&,
                  const std::optional<Tensor>&, double) {
                 auto sizes = x.sizes().vec();
                 std::fill(sizes.end() - static_cast<std::ptrdiff_t>(shape.size()), sizes.end(), 1);
                 const auto statistic = at::empty(sizes, x.options());
                 return std::make_tuple(at::empty_like(x), statistic, statistic.clone());
               });
  library.impl("roll", [](const Tensor& x, c10::SymIntArrayRef, c10::IntArrayRef) {
    return at::empty_like(x);
  });
  library.impl("where.self", [](const Tensor& condition, const Tensor& x, const Tensor& y) {
    return at::empty(at::infer_size(condition.sizes(), at::infer_size(x.sizes(), y.sizes())),
                     condition.options().dtype(at::result_type(x, y)));
  });
  library.impl(
      "where.self_out",
      [](const Tensor& condition, const Tensor& x, const Tensor& y, Tensor& out) -> Tensor& {
        out.resize_(at::infer_size(condition.sizes(), at::infer_size(x.sizes(), y.sizes())));
        return out;
      });
}

struct Family {
  std::string name;
  ModelJson config;
  std::int64_t rank = 0;  ///< of the factored linears; 0: dense
};

ModelJson bert_config(const std::string& architecture) {
  return {{"model_type", "bert"},
          {"architectures", {architecture}},
          {"vocab_size", kVocab},
          {"hidden_size", 32},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"intermediate_size", 40},
          {"max_position_embeddings", 16},
          {"num_labels", 3},
          {"initializer_range", 0.2},
          {"hidden_dropout_prob", 0.2},
          {"attention_probs_dropout_prob", 0.2}};
}

std::vector<Family> families() {
  auto dynamic = testing::tiny_config();  // its cache holds keys that are not turned
  dynamic["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  dynamic["max_position_embeddings"] = 8;
  std::vector<Family> all = {{"llama_dynamic", dynamic},
                             {"bert_masked_token", bert_config("BertForMaskedLM")},
                             {"bert_classifier", bert_config("BertForSequenceClassification")},
                             {"bert_factored", bert_config("BertForMaskedLM"), 7}};
  for (const auto& config : testing::causal_samples()) {
    const auto type = config["model_type"].get<std::string>();
    all.push_back({type, config});
    all.push_back({type + "_factored", config, 5});
  }
  return all;
}

std::shared_ptr<LanguageModel> model_of(const Family& family) {
  auto model = make_random_model(family.config, RandomKey(1));
  if (family.rank > 0) testing::factorize(*model, family.rank);
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
  return model;
}

/// Two sequences of which the second is shorter; padding is where the family wants it.
ModelInput padded_input(const LanguageModel& model, std::int64_t num_tokens) {
  const auto mask_BT = at::ones({2, num_tokens}, torch::kBool);
  mask_BT[1].narrow(0, model.is_causal() ? 0 : num_tokens - 2, 2).fill_(false);
  ModelInput input(at::arange(2 * num_tokens).mul_(7).remainder_(kVocab).view({2, -1}), mask_BT);
  if (!model.is_causal()) input.dropout_key = RandomKey(5);
  return input;
}

Tensor loss_of(LanguageModel& model, const ModelInput& input) {
  const auto hidden_BTD = model.hidden_states(input);
  if (model.head_kind() == HeadKind::kSequence) {
    return at::cross_entropy_loss(model.head(hidden_BTD), at::arange(2));
  }
  auto targets_BT = input.ids_BT.roll(-1, 1);
  targets_BT.masked_fill_(input.mask_BT.logical_not(), kIgnoreIndex);
  const auto targets_M = targets_BT.flatten();
  const auto weight_VD = model.head_weight();
  return weight_VD.defined()
             ? linear_cross_entropy(hidden_BTD.flatten(0, 1), weight_VD, targets_M)
             : softmax_cross_entropy_(model.head(hidden_BTD).flatten(0, 1), targets_M);
}

struct Results {
  std::vector<std::string> names;
  std::vector<Tensor> values;
  void add(std::string name, const Tensor& value) {
    names.push_back(std::move(name));
    values.push_back(value.detach());
  }
};

/// Logits, loss, every parameter's gradient, and the logits of a prompt and of tokens after it.
Results results_of(const Family& family) {
  Results out;
  const auto model = model_of(family);
  const auto input = padded_input(*model, 7);
  out.add("logits", model->forward(input));
  const auto loss = loss_of(*model, input);
  loss.backward();
  out.add("loss", loss);
  for (const auto& parameter : model->named_parameters()) {
    const auto& gradient = parameter.value().grad();
    if (gradient.defined()) out.add("gradient of " + parameter.key(), gradient);
  }
  if (!model->is_causal()) return out;
  const c10::InferenceMode inference;
  for (const bool is_padded : {false, true}) {
    const auto state = model->make_state(2, 12);
    ModelInput prompt = padded_input(*model, 5);
    if (!is_padded) prompt.mask_BT = torch::Tensor();
    out.add("prompt", model->forward(prompt, state.get()));
    for (std::int64_t token = 0; token < 4; ++token) {
      const auto ids_B1 = at::arange(2).add_(3 * token).view({2, 1});
      out.add("decoded token", model->forward(ids_B1, state.get()));
    }
  }
  return out;
}

class DevicePathsTest : public testing::SeededTest {
 protected:
  ~DevicePathsTest() override { use_cpu_kernels(true); }
};

TEST_F(DevicePathsTest, WithoutTheLoopsOfTheCpuEveryFamilyGivesTheSame) {
  for (const auto& family : families()) {
    SCOPED_TRACE(family.name);
    use_cpu_kernels(true);
    const auto with = results_of(family);
    use_cpu_kernels(false);
    EXPECT_FALSE(serves_small_linear(at::zeros({1, 2}), at::zeros({3, 2})));
    const auto without = results_of(family);
    ASSERT_EQ(with.names, without.names);
    for (std::size_t i = 0; i < with.names.size(); ++i) {
      // float32 sums of some tens of terms, through two layers and back.
      const double largest = with.values[i].abs().max().item<double>();
      EXPECT_TENSOR_NEAR(without.values[i], with.values[i], 2e-5 * std::max(1e-2, largest))
          << with.names[i];
    }
  }
}

TEST_F(DevicePathsTest, OnTheMetaDeviceEveryFamilyHasItsShapes) {
  const auto ids_of = [](std::int64_t num_tokens) {
    return at::empty({2, num_tokens}, at::TensorOptions(torch::kLong).device(torch::kMeta));
  };
  const auto expect_shape = [](const Tensor& tensor, c10::IntArrayRef sizes) {
    EXPECT_TRUE(tensor.is_meta());
    EXPECT_EQ(tensor.sizes(), sizes);
  };
  for (const auto& family : families()) {
    if (family.rank > 0) continue;  // there is nothing to factorize
    SCOPED_TRACE(family.name);
    const auto model = make_random_model(family.config, RandomKey(1), torch::kMeta);
    for (const auto& parameter : model->parameters()) EXPECT_TRUE(parameter.is_meta());
    const bool is_sequence = model->head_kind() == HeadKind::kSequence;
    for (const bool is_padded : {false, true}) {
      ModelInput input(ids_of(7));
      if (is_padded) input.mask_BT = at::empty({2, 7}, input.ids_BT.options().dtype(torch::kBool));
      if (!model->is_causal()) input.dropout_key = RandomKey(5);
      const auto hidden_BTD = model->hidden_states(input);
      expect_shape(hidden_BTD, {2, 7, 32});
      const auto logits =
          model->head(hidden_BTD, {.mask_BS = {}, .num_past = 0, .key = input.dropout_key});
      expect_shape(logits,
                   is_sequence ? c10::IntArrayRef({2, 3}) : c10::IntArrayRef({2, 7, kVocab}));
      if (!model->is_causal()) continue;
      const auto state = model->make_state(2, 12);
      input.ids_BT = ids_of(5);
      if (is_padded) input.mask_BT = input.mask_BT.narrow(1, 0, 5);
      expect_shape(model->forward(input, state.get()), {2, 5, kVocab});
      expect_shape(model->forward(ids_of(1), state.get()), {2, 1, kVocab});
      EXPECT_EQ(state->length(), 6);
    }
  }
}

}  // namespace
}  // namespace lowbank
