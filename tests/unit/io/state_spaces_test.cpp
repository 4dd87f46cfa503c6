#include "io/state_spaces.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "error_text.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

// config.json of state-spaces/mamba-130m.
const Json kMamba130m = {{"d_model", 768},         {"n_layer", 24},
                         {"vocab_size", 50277},    {"ssm_cfg", Json::object()},
                         {"rms_norm", true},       {"residual_in_fp32", true},
                         {"fused_add_norm", true}, {"pad_vocab_size_multiple", 8}};

TEST(StateSpaces, AnOriginalMambaBecomesWhatTransformersPublishes) {
  ASSERT_TRUE(is_state_spaces_config(kMamba130m));
  const Json config = state_spaces_to_hugging_face(kMamba130m, "config.json");
  // The values of state-spaces/mamba-130m-hf.
  const Json published = {
      {"hidden_size", 768},       {"num_hidden_layers", 24},    {"vocab_size", 50280},
      {"state_size", 16},         {"conv_kernel", 4},           {"intermediate_size", 1536},
      {"time_step_rank", 48},     {"use_bias", false},          {"use_conv_bias", true},
      {"residual_in_fp32", true}, {"layer_norm_epsilon", 1e-5}, {"model_type", "mamba"}};
  for (const auto& [key, value] : published.items()) EXPECT_EQ(config[key], value) << key;
  EXPECT_FALSE(is_state_spaces_config(config));
}

TEST(StateSpaces, OnlyTheEmbeddingHasAnotherName) {
  EXPECT_EQ(state_spaces_name("backbone.embedding.weight"), "backbone.embeddings.weight");
  EXPECT_EQ(state_spaces_name("backbone.layers.0.mixer.A_log"), "backbone.layers.0.mixer.A_log");
}

TEST(StateSpaces, WhatChangesTheResultIsRefusedByName) {
  const auto with = [](const std::string& key, const Json& value) {
    Json config = kMamba130m;
    config[key] = value;
    return testing::error_text<ConfigError>(
        [&] { state_spaces_to_hugging_face(config, "config.json"); });
  };
  EXPECT_THAT(with("ssm_cfg", {{"layer", "Mamba2"}}), HasSubstr("ssm_cfg.layer is \"Mamba2\""));
  EXPECT_THAT(with("rms_norm", false), HasSubstr("rms_norm is false"));
  EXPECT_THAT(with("attn_layer_idx", {1}), HasSubstr("attn_layer_idx"));
  EXPECT_THAT(with("d_intermediate", 64), HasSubstr("d_intermediate"));
  EXPECT_THAT(with("d_model", -1), HasSubstr("d_model: must be a whole number in [1, "));
}

}  // namespace
}  // namespace lowbank
