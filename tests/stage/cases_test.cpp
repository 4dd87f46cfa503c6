// The cases of tests/parity/fixtures/cases (its README): files that users have, and the right values,
// which public reports say other tools got wrong.
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/text.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;
using Json = nlohmann::ordered_json;

const std::string kCases = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/cases/";

class Cases : public ::testing::Test {
 protected:
  static std::vector<float> read_logits(const std::string& path) {
    const auto file = SafetensorsFile::open(path);
    const TensorEntry* const entry = file->find("logits");
    if (entry == nullptr) return {};
    std::vector<std::byte> scratch;
    const auto bytes = file->bytes(*entry, scratch);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  // The logits of a GGUF file or a folder, for the ids of a case.
  std::vector<float> logits(const std::string& model, const std::string& name) {
    std::string folder = model;
    if (fs::path(model).extension() == ".gguf") {
      folder = folder_.path("converted");
      fs::remove_all(folder);
      const auto converted = run_command("lowbank-convert", {model, folder});
      EXPECT_EQ(converted.exit_code, 0) << converted.err;
    }
    const std::string out = folder_.path("logits.safetensors");
    const auto result = run_command(
        "lowbank-logits", {folder, "--ids", kCases + name + "/ids.safetensors", "--out", out});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_logits(out);
  }
  void expect_logits(const std::string& model, const std::string& name,
                     const std::string& expected = "expected_logits.safetensors") {
    const auto got = logits(model, name);
    const auto wanted = read_logits(kCases + name + "/" + expected);
    ASSERT_EQ(got.size(), wanted.size()) << model;
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], wanted[i], 1e-5) << model << " " << i;  // the case's own tolerance
    }
  }

  testing::TempFolder folder_;
};

TEST_F(Cases, AnOlderGgufWithALinearFactorScalesThePositions) {
  const std::string name = "P03_gguf_linear_rope";
  expect_logits(kCases + name + "/control_with_type.gguf", name);
  expect_logits(kCases + name + "/factor_without_type.gguf", name);
}

TEST_F(Cases, ABiasThatAGgufLacksIsZero) {
  expect_logits(kCases + "P14_qkv_bias_only/model.gguf", "P14_qkv_bias_only");
}

TEST_F(Cases, ASplitGgufIsOneModel) {
  const std::string name = "P10_split_gguf";
  const std::string base = kCases + name + "/model-0000";
  for (const char* part : {"1", "2"}) expect_logits(base + part + "-of-00002.gguf", name);

  const std::string alone = folder_.path("model-00001-of-00002.gguf");
  fs::copy_file(base + "1-of-00002.gguf", alone);
  auto result = run_command("lowbank-convert", {alone, folder_.path("out")});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("model-00002-of-00002.gguf: is missing"), HasSubstr("part 1 of 2")));
  fs::copy_file(alone, folder_.path("model-00002-of-00002.gguf"));
  EXPECT_THAT(run_command("lowbank-convert", {alone, folder_.path("out")}).err,
              HasSubstr("is no part 2 of 2"));
  fs::rename(alone, folder_.path("mine.gguf"));
  result = run_command("lowbank-inspect", {folder_.path("mine.gguf")});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("is part 1 of 2 (split.no, split.count)"));
}

TEST_F(Cases, OfBothRopeKeysRopeScalingCounts) {
  expect_logits(kCases + "P04_rope_both_keys/folder", "P04_rope_both_keys");
}

TEST_F(Cases, TheWidthOfWeightsIsThatOfTheFile) {
  const auto result =
      run_command("lowbank-workload", {kCases + "P08_weight_bits/bf16_without_dtype", "--context",
                                       "16", "--out", folder_.path("w.json"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(last_line(result.out))["weight_bits"], 16);
}

TEST_F(Cases, CompressKeepsTheWidthOfItsSource) {
  const std::string source = kCases + "P15_compress_keeps_width/folder";
  const auto types = [&](std::vector<std::string> more) {
    const std::string out = folder_.path("small");
    fs::remove_all(out);
    std::vector<std::string> words = {source, out, "--rank", "ratio:0.5", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const auto result = run_command("lowbank-compress", words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Json metrics = Json::parse(last_line(result.out));
    EXPECT_EQ(metrics["bytes_after"] < metrics["bytes_before"], more.empty());
    std::set<ElementType> found;
    for (const auto& entry : SafetensorsFile::open(out + "/model.safetensors")->entries()) {
      found.insert(entry.type);
    }
    return found;
  };
  EXPECT_EQ(types({}), std::set{ElementType::kBf16});
  EXPECT_EQ(types({"--dtype", "f32"}), std::set{ElementType::kF32});
}

TEST_F(Cases, ASentenceEncoderSaysHowItPools) {
  const std::string folder = kCases + "P06_sentence_transformers/";
  const auto pearson = [&](const std::string& model, const std::string& data,
                           std::vector<std::string> more = {}) {
    std::vector<std::string> words = {model,         "--task", "sts-b",           "--data",
                                      folder + data, "--out",  folder_.path("e"), "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const auto result = run_command("lowbank-evaluate", words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(last_line(result.out))["pearson"].get<double>();
  };
  const Json expected = read_json(folder + "expected.json");
  const double cls = expected["pearson"]["cls_pooling with STS-B"];
  const double mean = expected["pearson_mean_pooling_128_tokens"];
  const double lower = expected["pearson"]["lower_case with STS-B_capitals"];
  // transformers' float32 hidden states.
  EXPECT_NEAR(pearson(folder + "cls_pooling", "STS-B"), cls, 1e-5);
  EXPECT_NEAR(pearson(folder + "cls_pooling", "STS-B", {"--pooling", "mean"}), mean, 1e-5);
  EXPECT_NEAR(pearson(folder + "lower_case", "STS-B_capitals"), lower, 1e-5);
  const std::string copy = folder_.path("copy");
  ASSERT_EQ(run_command("lowbank-convert", {folder + "cls_pooling", copy}).exit_code, 0);
  EXPECT_NEAR(pearson(copy, "STS-B"), cls, 1e-5) << "its files go along";
  const std::string gguf = folder_.path("model.gguf");
  ASSERT_EQ(run_command("lowbank-convert", {copy, gguf}).exit_code, 0);
  EXPECT_EQ(GgufFile::open(gguf)->integer("bert.pooling_type"), 2);
  const std::string back = folder_.path("back");
  const auto result = run_command("lowbank-convert", {gguf, back});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NEAR(pearson(back, "STS-B"), cls, 1e-5) << "GGUF keeps the pooling";
}

TEST_F(Cases, WordsAreSeparatedByUnicodeWhiteSpace) {
  const std::string folder = kCases + "P09_unicode_words/";
  const auto result = run_command(
      "lowbank-evaluate", {folder + "folder", "--data", folder + "text.txt", "--context", "32",
                           "--stride", "1", "--keep-last", "--out", folder_.path("e"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(last_line(result.out))["num_words"],
            read_json(folder + "expected.json")["num_words"]);
}

TEST_F(Cases, AGgufThatNamesNoPreTokenizerIsReadWithAWarning) {
  const std::string folder = kCases + "P13_gguf_without_pre/";
  const Json expected = read_json(folder + "expected.json");
  for (const auto& [file, ids] : {std::pair{"without_pre.gguf", "ids_of_without_pre"},
                                  std::pair{"llama_bpe.gguf", "ids_of_llama_bpe"}}) {
    const bool is_warned = ids == std::string("ids_of_without_pre");
    const auto result =
        run_command("lowbank-tokenize", {folder + file, "--file", folder + "texts.jsonl"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    Json got = Json::array();
    for (const auto line : split_lines(result.out)) got.push_back(Json::parse(line)["ids"]);
    EXPECT_EQ(got, expected[ids]) << file;
    const auto warned = is_warned ? HasSubstr("tokenizer.ggml.pre") : HasSubstr("");
    EXPECT_THAT(result.err, warned);
    const std::string out = folder_.path(ids);
    EXPECT_THAT(run_command("lowbank-convert", {folder + file, out}).err, warned);
    EXPECT_EQ(result.err.empty(), !is_warned) << result.err;
  }
}

}  // namespace
}  // namespace lowbank
