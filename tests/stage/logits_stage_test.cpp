#include <cstdint>
#include <filesystem>
#include <span>
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

const std::string kModel = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/llama_gqa_tied";

/// lowbank-logits on a tiny Llama with 64 token ids and 64 positions.
class LogitsStage : public ::testing::Test {
 protected:
  void write_ids(const std::vector<std::int64_t>& ids, std::vector<std::int64_t> shape,
                 const std::vector<std::int64_t>& mask = {}) {
    std::vector<TensorToWrite> tensors;
    tensors.push_back({.name = "input_ids",
                       .type = ElementType::kI64,
                       .shape = shape,
                       .bytes = std::as_bytes(std::span(ids))});
    if (!mask.empty()) {
      tensors.push_back({.name = "attention_mask",
                         .type = ElementType::kI64,
                         .shape = shape,
                         .bytes = std::as_bytes(std::span(mask))});
    }
    write_safetensors(ids_, std::move(tensors));
  }
  CommandResult run(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {kModel, "--ids", ids_, "--out", out_, "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command("lowbank-logits", words);
  }
  /// Exit code, one line that says all of it, and no output file.
  void expect_refusal(int exit_code, const std::string& message) {
    const auto result = run();
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, AllOf(StartsWith("lowbank logits: "), HasSubstr(message)));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
    EXPECT_FALSE(fs::exists(out_));
  }

  TempFolder folder_;
  std::string ids_ = folder_.path("ids.safetensors");
  std::string out_ = folder_.path("logits.safetensors");
};

TEST_F(LogitsStage, WritesOneRowOfScoresPerToken) {
  write_ids({1, 2, 3, 4, 5, 6}, {2, 3});
  const auto result = run({"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["num_tokens"], 6);
  EXPECT_EQ(metrics["vocab_size"], 64);
  const auto file = SafetensorsFile::open(out_);
  ASSERT_NE(file->find("logits"), nullptr);
  EXPECT_EQ(file->find("logits")->shape, (std::vector<std::int64_t>{2, 3, 64}));
  EXPECT_EQ(file->find("logits")->type, ElementType::kF32);
}

TEST_F(LogitsStage, RunningTwiceGivesTheSameFile) {
  write_ids({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_EQ(run().exit_code, 0);
  const auto bytes = read_bytes(out_);
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_TRUE(read_bytes(out_) == bytes);
}

TEST_F(LogitsStage, PaddingOnEitherSideIsLeftOut) {
  write_ids({9, 1, 2, 1, 2, -7}, {2, 3}, {0, 1, 1, 1, 1, 0});
  const auto result = run({"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto file = SafetensorsFile::open(out_);
  const auto bytes = file->bytes(*file->find("logits"));
  const std::vector<float> logits(reinterpret_cast<const float*>(bytes.data()),
                                  reinterpret_cast<const float*>(bytes.data() + bytes.size()));
  const auto row = [&](std::int64_t index) {
    return std::vector<float>(logits.begin() + index * 64, logits.begin() + (index + 1) * 64);
  };
  EXPECT_EQ(row(0), std::vector<float>(64, 0.0f));
  EXPECT_EQ(row(5), std::vector<float>(64, 0.0f));
  EXPECT_EQ(row(1), row(3));
  EXPECT_EQ(row(2), row(4));
}

TEST_F(LogitsStage, InputsThatDoNotFitTheModelAreUsageErrors) {
  write_ids({1, 64}, {1, 2});
  expect_refusal(2, "input_ids[0, 1] is 64; the model's ids are 0 to 63");
  write_ids({-1, 3}, {1, 2});
  expect_refusal(2, "input_ids[0, 0] is -1");
  write_ids({1, 2}, {2});
  expect_refusal(2, "input_ids must be [B, T] int64");
  write_ids({}, {0, 4});
  expect_refusal(2, "input_ids must be [B, T] int64 and not empty");
  write_ids(std::vector<std::int64_t>(65, 1), {1, 65});
  expect_refusal(2, "65 tokens a row; the model's context is 64");
  write_ids({1, 2, 3}, {1, 3}, {1, 0, 1});
  expect_refusal(2, "attention_mask: row 0");
  write_ids({1, 2, 3}, {1, 3}, {0, 0, 0});
  expect_refusal(2, "attention_mask: row 0");
  write_ids({1, 2, 3}, {1, 3}, {1, 2, 0});
  expect_refusal(2, "attention_mask: row 0");
}

TEST_F(LogitsStage, FilesThatAreNotThereOrBrokenAreEnvironmentErrors) {
  expect_refusal(3, ids_);
  folder_.file("ids.safetensors", "nonsense");
  expect_refusal(3, ids_);
  write_ids({1}, {1, 1});
  out_ = folder_.path("absent/logits.safetensors");
  expect_refusal(3, "does not exist");
}

}  // namespace
}  // namespace lowbank
