#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "core/error.h"
#include "error_text.h"
#include "models/factory.h"
#include "models/llama.h"
#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::tiny_config;
using Json = nlohmann::ordered_json;

struct BadValue {
  std::string key;
  Json value;
  std::string allowed;
};

void PrintTo(const BadValue& bad, std::ostream* out) { *out << bad.key << " = " << bad.value; }

class RefusedConfig : public ::testing::TestWithParam<BadValue> {};

TEST_P(RefusedConfig, IsOneLineWithFileKeyValueAndWhatIsSupported) {
  auto config = tiny_config();
  config[GetParam().key] = GetParam().value;
  try {
    read_llama_config(config, "ckpt/config.json");
    FAIL() << "accepted";
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("ckpt/config.json: "), HasSubstr(GetParam().key),
                                HasSubstr(GetParam().allowed)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Llama, RefusedConfig,
    ::testing::Values(
        BadValue{"model_type", "mistral", "llama"},
        BadValue{"architectures", {"LlamaForSequenceClassification"}, "[\"LlamaForCausalLM\"]"},
        BadValue{"hidden_act", "gelu", "silu"}, BadValue{"hidden_act", 3, "a string"},
        BadValue{"attention_dropout", 0.1, "0"},
        BadValue{"quantization_config", Json::object(), "none"},
        BadValue{"vocab_size", 0, "a whole number in [1, "},
        BadValue{"vocab_size", 2.5, "a whole number in [1, "},
        BadValue{"hidden_size", std::numeric_limits<std::uint64_t>::max(), "a whole number"},
        BadValue{"num_hidden_layers", -2, "a whole number"},
        BadValue{"num_hidden_layers", "2", "a whole number"},
        BadValue{"num_key_value_heads", 3, "divisors of num_attention_heads = 4"},
        BadValue{"num_attention_heads", 3, "divisors of num_attention_heads = 3"},
        BadValue{"hidden_size", 34, "multiples of num_attention_heads"},
        BadValue{"hidden_size", 36, "even head sizes"}, BadValue{"head_dim", 7, "even head sizes"},
        BadValue{"rms_norm_eps", 0, "a number > 0"}, BadValue{"rope_theta", -1, "a number > 0"},
        BadValue{"tie_word_embeddings", 1, "true or false"},
        BadValue{"partial_rotary_factor", 0.5, "1"},
        BadValue{"rope_scaling", {{"type", "dynamic"}, {"factor", 0.5}}, "a number >= 1"},
        BadValue{"rope_scaling",
                 {{"rope_type", "yarn"}, {"factor", 2}},
                 "default, linear, dynamic, llama3"},
        BadValue{"rope_parameters", {{"rope_type", "dynamic"}}, "a number > 0"},
        BadValue{"rope_parameters", {{"rope_type", "llama3"}}, "a number > 0"},
        BadValue{"rope_scaling", "linear", "a JSON object"}));

TEST(LlamaConfig, BothVersionsOfTheRopeKeysMeanTheSame) {
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 32}};
  auto version_4 = tiny_config(), version_5 = tiny_config(), old = tiny_config();
  version_4["rope_theta"] = 500.0;
  version_4["rope_scaling"] = scaling;
  version_5["rope_parameters"] = scaling;
  version_5["rope_parameters"]["rope_theta"] = 500.0;
  old["rope_theta"] = 500.0;
  old["rope_scaling"] = scaling;
  old["rope_scaling"]["type"] = old["rope_scaling"]["rope_type"];
  old["rope_scaling"].erase("rope_type");
  for (const auto& config : {version_4, version_5, old}) {
    const auto rotary = read_llama_config(config, "config").rotary;
    EXPECT_EQ(rotary.theta, 500.0);
    EXPECT_EQ(rotary.kind, RotaryKind::kLlama3);
    EXPECT_EQ(rotary.factor, 8.0);
    EXPECT_EQ(rotary.original_max_positions, 32);
  }
}

TEST(LlamaConfig, OfBothRopeGroupsRopeScalingCounts) {
  auto config = tiny_config();
  config["rope_theta"] = 500.0;
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 700.0}};
  auto rotary = read_llama_config(config, "config").rotary;
  EXPECT_EQ(rotary.kind, RotaryKind::kLinear);
  EXPECT_EQ(rotary.factor, 4.0);
  EXPECT_EQ(rotary.theta, 500.0) << "rope_parameters is not read at all";
  for (const Json& none : {Json(), Json::object()}) {
    config["rope_scaling"] = none;
    rotary = read_llama_config(config, "config").rotary;
    EXPECT_EQ(rotary.kind, RotaryKind::kDefault);
    EXPECT_EQ(rotary.theta, 700.0);
  }
}

TEST(LlamaConfig, RopeGroupsThatTheVersionsReadDifferentlyAreRefused) {
  const auto refusal = [](const char* group, const Json& value) {
    auto config = tiny_config();
    config["rope_theta"] = 500.0;
    config[group] = value;
    return testing::error_text<ConfigError>([&] { read_llama_config(config, "config"); });
  };
  EXPECT_THAT(
      refusal("rope_scaling", {{"type", "linear"}, {"rope_type", "default"}, {"factor", 2}}),
      HasSubstr("rope_scaling.type is \"linear\""));
  EXPECT_THAT(refusal("rope_scaling", {{"rope_type", "default"}, {"rope_theta", 700.0}}),
              HasSubstr("rope_scaling.rope_theta is 700"));
  EXPECT_THAT(refusal("rope_parameters", {{"full_attention", {{"rope_type", "default"}}},
                                          {"sliding_attention", {{"rope_type", "default"}}}}),
              HasSubstr("rope_parameters.full_attention"));
}

TEST(LlamaConfig, AbsentAndNullKeysTakeTransformersDefaults) {
  const auto config = read_llama_config(
      {{"model_type", "llama"}, {"rope_scaling", nullptr}, {"head_dim", nullptr}}, "config");
  EXPECT_EQ(config.vocab_size, 32000);
  EXPECT_EQ(config.hidden_size, 4096);
  EXPECT_EQ(config.num_kv_heads, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.rotary.theta, 10000.0);
  EXPECT_EQ(config.rotary.kind, RotaryKind::kDefault);
  EXPECT_FALSE(config.tie_word_embeddings);
}

TEST(LlamaConfig, AnotherModelTypeIsRefusedByName) {
  for (const auto& config : {Json{{"model_type", "gpt2"}}, Json::object()}) {
    EXPECT_THROW(make_random_model(config, RandomKey(1)), ConfigError);
  }
  EXPECT_THROW(make_random_model(Json::array(), RandomKey(1)), ConfigError);
}

}  // namespace
}  // namespace lowbank
