#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "io/safetensors.h"
#include "train_runs.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;

class CompressStage : public testing::TrainStage {
 protected:
  testing::CommandResult compress(const std::string& run, std::vector<std::string> more) const {
    std::vector<std::string> words = {model(), folder_.path(run), "--threads", "1", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command("lowbank-compress", words);
  }
};

TEST_F(CompressStage, EveryBlockLinearGetsItsOwnRankAndIsListed) {
  const auto result = compress("half", {"--rank", "ratio:0.5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["num_svds"], 35);  // 7 linears in each of 5 layers
  EXPECT_LT(metrics["params_after"].get<int>(), metrics["params_before"].get<int>());
  ASSERT_EQ(metrics["linears"].size(), 35u);
  for (const auto& linear : metrics["linears"]) {
    const int out = linear["out"], in = linear["in"];
    EXPECT_EQ(linear["break_even_rank"], out * in / (out + in)) << linear["path"];
    EXPECT_EQ(linear["rank"], linear["break_even_rank"].get<int>() / 2) << linear["path"];
    EXPECT_GT(linear["relative_error"].get<double>(), 0) << linear["path"];
  }
  const auto weights = SafetensorsFile::open(folder_.path("half/model.safetensors"));
  const std::string layer = "model.layers.0.self_attn.k_proj";  // 32 x 64: break-even 21, half 10
  ASSERT_NE(weights->find(layer + ".u"), nullptr);
  EXPECT_EQ(weights->find(layer + ".u")->shape, (std::vector<std::int64_t>{32, 10}));
  EXPECT_EQ(weights->find(layer + ".weight"), nullptr) << "the dense weight must be gone";
}

TEST_F(CompressStage, TheSameCommandGivesTheSameBytes) {
  ASSERT_EQ(compress("a", {}).exit_code, 0);
  ASSERT_EQ(compress("b", {}).exit_code, 0);
  EXPECT_EQ(read_bytes(folder_.path("a/model.safetensors")),
            read_bytes(folder_.path("b/model.safetensors")));
}

TEST_F(CompressStage, DenseAgainHasTheTensorsOfTheModelItCameFrom) {
  ASSERT_EQ(compress("small", {}).exit_code, 0);
  const auto result = run_command("lowbank-compress",
                                  {folder_.path("small"), folder_.path("dense"), "--to", "dense"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto original = SafetensorsFile::open(model() + "/model.safetensors");
  const auto dense = SafetensorsFile::open(folder_.path("dense/model.safetensors"));
  ASSERT_EQ(dense->entries().size(), original->entries().size());
  for (const auto& entry : original->entries()) {
    ASSERT_NE(dense->find(entry.name), nullptr) << entry.name;
    EXPECT_EQ(dense->find(entry.name)->shape, entry.shape) << entry.name;
  }
}

TEST_F(CompressStage, WhatDoesNotFitIsAUsageErrorAndLeavesNothing) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--rank", "fixed:40"}, "model.layers.0.self_attn.k_proj"},  // full rank 32
      {{"--rank", "budget:0.5"}, "break_even"},
      {{"--modules", "attn.qkv"}, "model.layers.0.self_attn.q_proj"},
      {{"--modules", "("}, "regular expression"},
      {{"--to", "dense"}, "factored"}};
  for (const auto& [words, wanted] : cases) {
    const auto result = compress("run", words);
    EXPECT_EQ(result.exit_code, 2) << words[1];
    EXPECT_THAT(result.err, HasSubstr(wanted)) << words[1];
    EXPECT_FALSE(fs::exists(folder_.path("run"))) << words[1];
  }
}

TEST_F(CompressStage, AMissingCheckpointIsNamed) {
  const auto result =
      run_command("lowbank-compress", {folder_.path("absent"), folder_.path("run")});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("absent"));
  EXPECT_FALSE(fs::exists(folder_.path("run")));
}

}  // namespace
}  // namespace lowbank
