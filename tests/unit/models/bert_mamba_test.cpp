#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "models/bert.h"
#include "models/mamba.h"
#include "nn/tensor_file.h"
#include "sample_models.h"
#include "stages/logits_stage.h"
#include "temp_folder.h"
#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::kVocab;
using testing::random_ids;
using testing::small_bert;
using testing::small_mamba;
using ModelJson = nlohmann::ordered_json;

class BertMambaTest : public testing::SeededTest {
 protected:
  /// The error of `lowbank logits` for these tensors on this model, "" if there is none.
  std::string logits_error(const ModelJson& config,
                           const std::map<std::string, torch::Tensor>& input) {
    const LoadedModel loaded{
        .model = make_random_model(config, RandomKey(1)), .folder = {}, .meta = {}};
    save_model(folder_.path("ckpt"), loaded, {"test", "hash", "0"});
    write_tensors(folder_.path("ids.safetensors"), input);
    LogitsConfig stage;
    stage.common.quiet = true;
    stage.common.threads = 1;
    stage.checkpoint = folder_.path("ckpt");
    stage.ids = folder_.path("ids.safetensors");
    stage.out = folder_.path("out.safetensors");
    Metrics metrics;
    try {
      logits_stage(stage, nullptr, metrics);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  const testing::TempFolder folder_;
};

// Logits of the classifier with these dropout probabilities and this key.
torch::Tensor dropped_logits(double hidden, double attention, std::optional<std::uint64_t> seed) {
  auto config = small_bert("BertForSequenceClassification");
  config["hidden_dropout_prob"] = hidden;
  config["attention_probs_dropout_prob"] = attention;
  const auto ids = at::arange(2 * 7).remainder_(kVocab).view({2, 7});
  const auto mask = at::arange(7).lt(6).repeat({2, 1});
  ModelInput input(ids, mask);
  if (seed.has_value()) input.dropout_key = RandomKey(*seed);
  return make_random_model(config, RandomKey(1))->forward(input);
}

TEST_F(BertMambaTest, DropoutFollowsItsKeyAndNothingElse) {
  const c10::InferenceMode inference;
  const auto clean = dropped_logits(0.3, 0.3, {});
  EXPECT_TRUE(at::equal(dropped_logits(0.3, 0.3, 7), dropped_logits(0.3, 0.3, 7)));
  EXPECT_FALSE(at::equal(dropped_logits(0.3, 0.3, 7), dropped_logits(0.3, 0.3, 8)));
  // Each kind alone changes the result.
  EXPECT_FALSE(at::equal(dropped_logits(0.3, 0, 7), clean));
  EXPECT_FALSE(at::equal(dropped_logits(0, 0.3, 7), clean));
  EXPECT_TRUE(at::equal(dropped_logits(0, 0, 7), clean));
}

TEST_F(BertMambaTest, AttentionThatDropsNothingIsTheFusedOne) {
  const c10::InferenceMode inference;
  // 1e-6 is less than half of 2^-16, the step of probabilities.
  EXPECT_TENSOR_NEAR(dropped_logits(0, 1e-6, 7), dropped_logits(0, 0, {}), 1e-5);
}

TEST_F(BertMambaTest, DropoutTrainsWithTheDrawsOfItsForwardPass) {
  // The gradient along itself is the slope of the loss with the same key, and not with another.
  auto config = small_bert("BertForSequenceClassification");
  const auto model = make_random_model(config, RandomKey(1));
  model->to(c10::kDouble);
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
  const auto loss = [&](std::uint64_t seed) {
    ModelInput input(at::arange(2 * 7).remainder_(kVocab).view({2, 7}));
    input.dropout_key = RandomKey(seed);
    return model->forward(input).pow(2).sum();
  };
  loss(7).backward();
  const c10::NoGradGuard no_grad;
  double square = 0;
  for (const auto& parameter : model->parameters()) {
    square += parameter.grad().pow(2).sum().item<double>();
  }
  const auto moved = [&](double step, std::uint64_t seed) {
    for (auto& parameter : model->parameters()) parameter.add_(parameter.grad(), step);
    const double value = loss(seed).item<double>();
    for (auto& parameter : model->parameters()) parameter.sub_(parameter.grad(), step);
    return value;
  };
  const double step = 1e-4 / std::sqrt(square);
  const auto slope = [&](std::uint64_t seed) {
    return (moved(step, seed) - moved(-step, seed)) / (2 * step);
  };
  EXPECT_NEAR(slope(7) / square, 1.0, 1e-5);
  EXPECT_GT(std::abs(slope(8) / square - 1.0), 1e-3);
}

TEST_F(BertMambaTest, EachDropoutOfAPassDrawsForItself) {
  auto config = small_bert("BertForSequenceClassification");
  config["hidden_size"] = 64;
  config["num_attention_heads"] = 32;
  config["hidden_dropout_prob"] = 0.5;
  config["attention_probs_dropout_prob"] = 0.5;
  const auto model = make_random_model(config, RandomKey(1));
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
  ModelInput input(at::full({1, 1}, 5, at::kLong));
  input.dropout_key = RandomKey(7);
  model->forward(input).pow(2).sum().backward();
  const auto parameters = model->named_parameters();
  // A bias just before a dropout has a gradient exactly where the dropout kept the value, since
  // there is only one token. The classifier's weight meets what its dropout kept.
  const auto kept = [&](const std::string& name) {
    const auto grad = parameters[name].grad();
    const auto row = grad.dim() == 2 ? grad[0] : grad;
    const bool has_heads = name.ends_with("value.bias");
    const auto is_kept = (has_heads ? row.view({32, 2}).select(1, 0) : row) != 0;
    std::string bits;
    for (std::int64_t i = 0; i < is_kept.size(0); ++i) bits += is_kept[i].item<bool>() ? '1' : '0';
    // About half of them; five standard deviations.
    EXPECT_NEAR(static_cast<double>(std::count(bits.begin(), bits.end(), '1')),
                static_cast<double>(bits.size()) / 2, 2.5 * std::sqrt(bits.size()))
        << name;
    return bits;
  };
  std::map<std::string, std::string> name_of;
  std::vector<std::string> names = {"bert.embeddings.LayerNorm.bias", "classifier.weight"};
  for (const std::string layer : {"bert.encoder.layer.0.", "bert.encoder.layer.1."}) {
    for (const auto* part :
         {"attention.self.value.bias", "attention.output.dense.bias", "output.dense.bias"}) {
      names.push_back(layer + part);
    }
  }
  for (const auto& name : names) {
    const auto [other, is_new] = name_of.emplace(kept(name), name);
    EXPECT_TRUE(is_new) << name << " and " << other->second << " have the same draws";
  }
}

TEST_F(BertMambaTest, SavedModelsComeBackWithTheSameBits) {
  const c10::InferenceMode inference;
  const auto ids = random_ids(2, 7);
  for (const auto& config :
       {small_bert("BertModel"), small_bert("BertForMaskedLM"), small_bert("BertForPreTraining"),
        small_bert("BertForSequenceClassification"), small_mamba()}) {
    const LoadedModel loaded{
        .model = make_random_model(config, RandomKey(1)), .folder = {}, .meta = {}};
    save_model(folder_.path("ckpt"), loaded, {"test", "hash", "0"});
    const auto again = load_model(folder_.path("ckpt")).model;
    EXPECT_TRUE(at::equal(again->forward(ids), loaded.model->forward(ids))) << config.dump();
    EXPECT_EQ(count_parameters(*again), count_parameters(*loaded.model));
  }
}

TEST_F(BertMambaTest, GradientsReachEveryParameter) {
  const auto ids = random_ids(3, 7);
  for (const auto& config : {small_bert("BertForMaskedLM"),
                             small_bert("BertForSequenceClassification"), small_mamba()}) {
    const auto model = make_random_model(config, RandomKey(1));
    {
      const c10::InferenceMode inference;  // what a layer keeps must not stand in the way
      model->forward(ids);
    }
    const auto out = model->forward({ids, {}, at::ones({3, 7}, at::kLong)});
    const auto targets = out.dim() == 3 ? ids.flatten() : at::zeros({3}, at::kLong);
    at::cross_entropy_loss(out.flatten(0, -2), targets).backward();
    for (const auto& parameter : model->named_parameters()) {
      ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
      // A constant added to every key's score changes no weight of attention.
      if (parameter.key().ends_with("key.bias")) continue;
      EXPECT_GT(parameter.value().grad().abs().max().item<double>(), 0.0) << parameter.key();
    }
  }
}

TEST_F(BertMambaTest, AMambaWithoutAWindowDecodesAsItRuns) {
  auto config = small_mamba();
  config["conv_kernel"] = 1;
  const auto model = make_random_model(config, RandomKey(1));
  const c10::InferenceMode inference;
  const auto ids = random_ids(2, 6);
  const auto full = model->forward(ids);
  const auto state = model->make_state(2, 6);
  for (std::int64_t t = 0; t < 6; ++t) {
    // float32; logits of order 1, another order of sums.
    EXPECT_TENSOR_NEAR(model->forward(ids.narrow(1, t, 1), state.get()), full.narrow(1, t, 1),
                       1e-5);
  }
}

TEST_F(BertMambaTest, AnEncoderIsNoCausalModel) {
  const LoadedModel loaded{
      .model = make_random_model(small_bert("BertModel"), RandomKey(1)), .folder = {}, .meta = {}};
  save_model(folder_.path("ckpt"), loaded, {"test", "hash", "0"});
  try {
    load_causal_model(folder_.path("ckpt"));
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("ckpt"), HasSubstr("bert")));
  }
}

TEST_F(BertMambaTest, InputThatDoesNotFitIsNamed) {
  const auto ids = random_ids(2, 4);
  const auto bert = small_bert("BertModel");
  auto bad = at::zeros({2, 4}, at::kLong);
  bad[1][2] = 2;
  EXPECT_EQ(logits_error(bert, {{"input_ids", ids}}), "");
  EXPECT_THAT(logits_error(bert, {{"input_ids", ids}, {"token_type_ids", bad}}),
              HasSubstr("token_type_ids[1, 2] is 2; the model's token types are 0 to 1"));
  EXPECT_THAT(logits_error(bert, {{"input_ids", ids}, {"attention_mask", bad}}),
              HasSubstr("attention_mask must hold 0 and 1"));
  EXPECT_THAT(
      logits_error(bert, {{"input_ids", ids}, {"attention_mask", at::zeros({2, 4}, at::kLong)}}),
      HasSubstr("a 1 in every row"));
  EXPECT_THAT(logits_error(bert, {{"input_ids", random_ids(1, 17)}}),
              HasSubstr("17 tokens a row; the model's context is 16"));
  auto beyond = ids.clone();
  beyond[0][3] = kVocab;
  EXPECT_THAT(logits_error(bert, {{"input_ids", beyond}}), HasSubstr("input_ids[0, 3] is 48"));
  auto holes = at::ones({2, 4}, at::kLong);
  holes[0][1] = 0;
  EXPECT_EQ(logits_error(bert, {{"input_ids", ids}, {"attention_mask", holes}}), "");
  EXPECT_THAT(logits_error(small_mamba(), {{"input_ids", ids}, {"attention_mask", holes}}),
              HasSubstr("row 0 must be one block of 1"));
  EXPECT_THAT(logits_error(small_mamba(), {{"input_ids", ids}, {"token_type_ids", bad}}),
              HasSubstr("'token_type_ids' is unknown"));
}

TEST_F(BertMambaTest, SettingsThatAreNotSupportedAreNamed) {
  const auto refusal = [](ModelJson config, const std::string& key, const ModelJson& value) {
    config[key] = value;
    try {
      make_random_model(config, RandomKey(1));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto bert = small_bert("BertModel");
  for (const auto& [key, value] :
       std::map<std::string, ModelJson>{{"architectures", {"BertForTokenClassification"}},
                                        {"position_embedding_type", "relative_key"},
                                        {"is_decoder", true},
                                        {"add_cross_attention", true},
                                        {"pruned_heads", {{"0", {1}}}},
                                        {"hidden_act", "gelu_10"},
                                        {"hidden_size", 33},
                                        {"layer_norm_eps", 0},
                                        {"hidden_dropout_prob", 1.0},
                                        {"type_vocab_size", 0}}) {
    EXPECT_THAT(refusal(bert, key, value),
                AllOf(HasSubstr(key), AnyOf(HasSubstr("supported: "), HasSubstr("must be"))));
  }
  for (const auto& [key, value] :
       std::map<std::string, ModelJson>{{"architectures", {"MambaModel"}},
                                        {"hidden_act", "gelu"},
                                        {"intermediate_size", 65},
                                        {"time_step_rank", 0},
                                        {"state_size", -1},
                                        {"layer_norm_epsilon", 0}}) {
    EXPECT_THAT(refusal(small_mamba(), key, value),
                AllOf(HasSubstr(key), AnyOf(HasSubstr("supported: "), HasSubstr("must be"))));
  }
}

}  // namespace
}  // namespace lowbank
