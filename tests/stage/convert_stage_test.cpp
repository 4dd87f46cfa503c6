#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "io/safetensors.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;
using ::testing::StartsWith;
using testing::TempFolder;

const std::string kStories = LOWBANK_SOURCE_DIR "/data/samples/stories260K/stories260K.bin";
const std::string kTokenizer = LOWBANK_SOURCE_DIR "/data/samples/stories260K/tok512.model";
const std::string kFolder = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/llama_gqa_tied";

class ConvertStage : public ::testing::Test {
 protected:
  CommandResult convert(const std::string& source, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {source, target_, "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command("lowbank-convert", words);
  }
  /// Exit code, one line that says all of it, and nothing left behind.
  void expect_refusal(const CommandResult& result, int exit_code, const std::string& message) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, AllOf(StartsWith("lowbank convert: "), HasSubstr(message)));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(fs::exists(target_));
  }

  TempFolder folder_;
  std::string target_ = folder_.path("checkpoint");
};

TEST_F(ConvertStage, MakesACheckpointAsTransformersWritesIt) {
  const auto result = convert(kStories, {"--tokenizer", kTokenizer, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["num_params"], 260032);
  EXPECT_EQ(metrics["num_bytes"], 260032 * 4);
  EXPECT_EQ(metrics["num_tensors"], 47);
  const auto config = nlohmann::json::parse(read_bytes(target_ + "/config.json"));
  EXPECT_EQ(config["architectures"], nlohmann::json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["intermediate_size"], 172);
  EXPECT_EQ(config["num_key_value_heads"], 4);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["bos_token_id"], 1);
  EXPECT_EQ(read_bytes(target_ + "/tokenizer.model"), read_bytes(kTokenizer));
  EXPECT_EQ(SafetensorsFile::open(target_ + "/model.safetensors")->entries().size(), 47u);
  const auto meta = nlohmann::json::parse(read_bytes(target_ + "/lowbank.json"));
  EXPECT_EQ(meta["base_model"], "stories260K");
  EXPECT_EQ(meta["history"][0]["stage"], "convert");
  EXPECT_FALSE(fs::exists(target_ + "/.partial"));
}

TEST_F(ConvertStage, TheSameFileGivesTheSameBytes) {
  ASSERT_EQ(convert(kStories).exit_code, 0);
  const auto first = read_bytes(target_ + "/model.safetensors");
  ASSERT_EQ(convert(kStories).exit_code, 0);
  EXPECT_EQ(read_bytes(target_ + "/model.safetensors"), first);
}

TEST_F(ConvertStage, WarnsWhenThereIsNoTokenizer) {
  const auto result = convert(kStories);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("warning: no --tokenizer given"));
  EXPECT_FALSE(fs::exists(target_ + "/tokenizer.model"));
}

TEST_F(ConvertStage, AHuggingFaceFolderKeepsItsTensors) {
  const auto result = convert(kFolder);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto before = SafetensorsFile::open(kFolder + "/model.safetensors");
  const auto after = SafetensorsFile::open(target_ + "/model.safetensors");
  ASSERT_EQ(after->entries().size(), before->entries().size());
  for (const auto& entry : before->entries()) {
    const auto* const found = after->find(entry.name);
    ASSERT_NE(found, nullptr) << entry.name;
    const auto a = before->bytes(entry), b = after->bytes(*found);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << entry.name;
  }
  EXPECT_TRUE(fs::exists(target_ + "/lowbank.json"));
}

TEST_F(ConvertStage, ATruncatedFileLeavesNothing) {
  const std::string bytes = read_bytes(kStories);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, std::size_t{28}, std::size_t{500000}, bytes.size() - 1}) {
    const std::string cut = folder_.file("cut.bin", bytes.substr(0, size));
    expect_refusal(convert(cut, {"--tokenizer", kTokenizer}), 3,
                   "has " + std::to_string(size) + " bytes");
  }
  expect_refusal(convert(folder_.file("long.bin", bytes + "x")), 3, "longer");
}

TEST_F(ConvertStage, WhatIsMissingOrDamagedIsNamed) {
  expect_refusal(convert(folder_.path("absent.bin")), 3, "absent.bin");
  expect_refusal(convert(kStories, {"--tokenizer", folder_.path("absent.model")}), 3,
                 "absent.model");
  expect_refusal(convert(kStories, {"--tokenizer", kStories}), 3, "no sentencepiece model");
  expect_refusal(convert(folder_.path()), 3, "config.json");
  std::string damaged = read_bytes(kStories);
  damaged.replace(5000, 4, "\xFF\xFF\xFF\xFF");  // not a number
  expect_refusal(convert(folder_.file("nan.bin", damaged)), 3, "embed_tokens");
}

TEST_F(ConvertStage, InputsThatDoNotFitTogetherAreUsageErrors) {
  std::string other = read_bytes(kStories);
  other[20] = 1;  // vocabulary 513, and the bytes of one more row
  other += std::string(64 * 4, '\0');
  expect_refusal(convert(folder_.file("513.bin", other), {"--tokenizer", kTokenizer}), 2,
                 "512 pieces");
  expect_refusal(convert(kFolder, {"--tokenizer", kTokenizer}), 2, "tokenizer");
}

TEST_F(ConvertStage, AnOutputBelowAFileIsRefused) {
  target_ = folder_.file("plain", "x") + "/checkpoint";
  expect_refusal(convert(kStories), 3, "plain");
  EXPECT_EQ(read_bytes(folder_.path("plain")), "x");
}

TEST_F(ConvertStage, ABadInputLeavesAnEarlierOutputUntouched) {
  ASSERT_EQ(convert(kStories, {"--tokenizer", kTokenizer}).exit_code, 0);
  const auto snapshot = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(target_)) {
      files[entry.path().filename().string()] = read_bytes(entry.path().string());
    }
    return files;
  };
  const auto before = snapshot();
  EXPECT_EQ(convert(folder_.file("cut.bin", "short")).exit_code, 3);
  EXPECT_EQ(snapshot(), before);
}

}  // namespace
}  // namespace lowbank
