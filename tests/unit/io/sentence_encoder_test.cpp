#include "io/sentence_encoder.h"

#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "error_text.h"
#include "io/checkpoint_folder.h"
#include "io/checkpoint_meta.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using Pooling = SentenceEncoder::Pooling;

class SentenceEncoderTest : public ::testing::Test {
 protected:
  SentenceEncoderTest() { fs::create_directory(folder_.path("1_Pooling")); }
  void modules(std::vector<std::string> more = {}, const char* pooling_path = "1_Pooling") {
    Json list = {{{"path", ""}, {"type", "sentence_transformers.models.Transformer"}},
                 {{"path", pooling_path}, {"type", "sentence_transformers.models.Pooling"}}};
    for (const auto& type : more) {
      list.push_back({{"path", "2_More"}, {"type", "sentence_transformers.models." + type}});
    }
    folder_.file("modules.json", dump_json(list));
  }
  void pooling(const Json& config) { folder_.file("1_Pooling/config.json", dump_json(config)); }
  SentenceEncoder read() { return read_sentence_encoder(folder_.path()).value(); }
  std::string refusal() {
    return error_text<ConfigError>([&] { read(); });
  }
  testing::TempFolder folder_;
};

TEST_F(SentenceEncoderTest, AFolderWithoutModulesSaysNothing) {
  EXPECT_FALSE(read_sentence_encoder(folder_.path()).has_value());
}

TEST_F(SentenceEncoderTest, EveryWayToNameAPooling) {
  modules({"Normalize", "Dropout"});
  const std::map<std::string, Pooling> kinds = {
      {"pooling_mode_cls_token", Pooling::kCls},
      {"pooling_mode_mean_tokens", Pooling::kMean},
      {"pooling_mode_max_tokens", Pooling::kMax},
      {"pooling_mode_mean_sqrt_len_tokens", Pooling::kMean}};
  for (const auto& [flag, kind] : kinds) {
    Json config = {{"word_embedding_dimension", 8}};
    for (const auto& [other, unused] : kinds) config[other] = other == flag;
    pooling(config);
    EXPECT_EQ(read().pooling, kind) << flag;
  }
  for (const auto& [word, kind] : std::map<std::string, Pooling>{
           {"cls", Pooling::kCls}, {"mean", Pooling::kMean}, {"max", Pooling::kMax}}) {
    pooling({{"pooling_mode", word}});
    EXPECT_EQ(read().pooling, kind) << word;
  }
}

TEST_F(SentenceEncoderTest, LengthAndCaseComeFromTheTransformersOwnFile) {
  modules();
  pooling({{"pooling_mode_mean_tokens", true}});
  EXPECT_FALSE(read().lower_case);
  EXPECT_FALSE(read().max_tokens.has_value());
  folder_.file("sentence_roberta_config.json", R"({"max_seq_length": 77})");
  EXPECT_EQ(read().max_tokens, 77);
  folder_.file("sentence_bert_config.json", R"({"max_seq_length": null, "do_lower_case": true})");
  EXPECT_TRUE(read().lower_case);
  EXPECT_FALSE(read().max_tokens.has_value());
}

TEST_F(SentenceEncoderTest, WhatWouldChangeTheVectorsIsRefusedWithFileAndKey) {
  modules();
  pooling({{"pooling_mode_mean_tokens", true}, {"pooling_mode_cls_token", true}});
  EXPECT_THAT(refusal(), HasSubstr("1_Pooling/config.json: pooling_mode_mean_tokens"));
  pooling({{"pooling_mode_lasttoken", true}});
  EXPECT_THAT(refusal(), HasSubstr("pooling_mode_lasttoken"));
  pooling({{"pooling_mode", "weightedmean"}});
  EXPECT_THAT(refusal(), HasSubstr("pooling_mode is \"weightedmean\""));
  pooling({{"pooling_mode_mean_tokens", false}});
  EXPECT_THAT(refusal(), HasSubstr("pooling_mode_mean_tokens"));
  pooling({{"pooling_mode_mean_tokens", true}});
  modules({"Dense"});
  EXPECT_THAT(refusal(), HasSubstr("modules.json: [2].type"));
  modules({}, "../1_Pooling");
  EXPECT_THAT(refusal(), HasSubstr("modules.json: [1].path"));
}

TEST_F(SentenceEncoderTest, TheFilesGoAlongWithACheckpoint) {
  modules();
  pooling({{"pooling_mode_cls_token", true}});
  folder_.file("sentence_bert_config.json", R"({"max_seq_length": 9})");
  const std::string copy = folder_.path("copy");
  CheckpointWriter writer(copy);
  copy_side_files(folder_.path(), writer.staging_folder());
  writer.publish();
  const auto encoder = read_sentence_encoder(copy).value();
  EXPECT_EQ(encoder.pooling, Pooling::kCls);
  EXPECT_EQ(encoder.max_tokens, 9);
  EXPECT_FALSE(fs::exists(copy + "/.partial"));
}

}  // namespace
}  // namespace lowbank
