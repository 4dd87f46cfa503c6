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
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;
using testing::TempFolder;

const std::string kSamples = LOWBANK_SOURCE_DIR "/data/samples/";

/// generate, evaluate and tokenize on the trained stories model, converted once.
class StoriesModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TempFolder();
    const auto result =
        run_command("lowbank-convert", {kSamples + "stories260K/stories260K.bin", model(),
                                        "--tokenizer", kSamples + "stories260K/tok512.model"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string model() { return shared_->path("model"); }

  static CommandResult run(const std::string& command, std::vector<std::string> more) {
    std::vector<std::string> words = {model(), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command(command, words);
  }
  static nlohmann::json json_of(const std::string& command, std::vector<std::string> more) {
    more.push_back("--json");
    const auto result = run(command, std::move(more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(last_line(result.out));
  }
  static void expect_refusal(const CommandResult& result, int exit_code, const std::string& words) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }

  static TempFolder* shared_;
  TempFolder folder_;
};

TempFolder* StoriesModel::shared_ = nullptr;

using GenerateStage = StoriesModel;

TEST_F(GenerateStage, PrintsTheTextThatTheLlama2cProgramPrints) {
  const auto result =
      run("lowbank-generate", {"--prompt", "", "--max-new-tokens", "256", "--greedy"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, read_bytes(kSamples + "stories260K/expected_greedy_256.txt"));
  EXPECT_EQ(result.err, "");
}

TEST_F(GenerateStage, JsonHoldsPromptAndNewTokensAndTheirText) {
  const auto metrics = json_of(
      "lowbank-generate", {"--prompt", "Once upon a time", "--max-new-tokens", "8", "--greedy"});
  EXPECT_EQ(metrics["num_new_tokens"], 8);
  ASSERT_EQ(metrics["ids"].size(), 1u + 4 + 8);
  EXPECT_EQ(metrics["ids"][0], 1);  // the start token that tokenizer_config.json asks for
  EXPECT_THAT(metrics["text"].get<std::string>(), ::testing::StartsWith("Once upon a time, there"));
  EXPECT_GT(metrics["tokens_per_second"], 0);
}

TEST_F(GenerateStage, IdsInPlaceOfAPromptGiveTheSameContinuation) {
  const auto by_prompt = json_of(
      "lowbank-generate", {"--prompt", "Once upon a time", "--max-new-tokens", "8", "--greedy"});
  const std::string ids = folder_.file("ids.json", "[1, 403, 407, 261, 378]");
  const auto by_ids =
      json_of("lowbank-generate", {"--ids", ids, "--max-new-tokens", "8", "--greedy"});
  EXPECT_EQ(by_ids["ids"], by_prompt["ids"]);
  // Without a tokenizer the numbers still come.
  const std::string bare = folder_.path("bare");
  fs::create_directory(bare);
  for (const auto* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(model() + "/" + name, bare + "/" + name);
  }
  const auto numbers =
      run_command("lowbank-generate", {bare, "--ids", ids, "--max-new-tokens", "2", "--greedy"});
  EXPECT_EQ(numbers.exit_code, 0) << numbers.err;
  EXPECT_EQ(numbers.out, "1 403 407 261 378 432 383\n");
  expect_refusal(run_command("lowbank-generate", {bare, "--prompt", "x"}), 3, "no tokenizer");
}

TEST_F(GenerateStage, TheSeedDecidesWhatIsDrawn) {
  const auto text = [](const std::string& seed) {
    return run("lowbank-generate", {"--prompt", "The", "--max-new-tokens", "40", "--seed", seed})
        .out;
  };
  EXPECT_EQ(text("1"), text("1"));
  EXPECT_NE(text("1"), text("2"));
}

TEST_F(GenerateStage, RefusesWhatItCannotContinue) {
  expect_refusal(run("lowbank-generate", {"--prompt", "x", "--max-new-tokens", "512"}), 2,
                 "max_new_tokens");
  expect_refusal(run("lowbank-generate", {"--ids", folder_.file("a.json", "[512]")}), 2, "512");
  expect_refusal(run("lowbank-generate", {"--ids", folder_.file("b.json", "[]")}), 2, "empty");
  expect_refusal(run("lowbank-generate", {"--ids", folder_.file("c.json", "{\"ids\": 1}")}), 3,
                 "must be a list");
  expect_refusal(run("lowbank-generate", {"--ids", folder_.file("d.json", "[1.5]")}), 3, "1.5");
  expect_refusal(run("lowbank-generate", {"--prompt", "\xFF"}), 2, "UTF-8");
  expect_refusal(run_command("lowbank-generate", {folder_.path("absent")}), 3, "absent");
  // An empty prompt has nothing to start from where the tokenizer adds no start token.
  const std::string plain = folder_.path("plain");
  fs::copy(model(), plain);
  folder_.file("plain/tokenizer_config.json", R"({"add_bos_token": false})");
  expect_refusal(run_command("lowbank-generate", {plain, "--prompt", ""}), 2, "start token");
}

using EvaluateStage = StoriesModel;

TEST_F(EvaluateStage, ReportsThePerplexityAndHowItWasComputed) {
  const std::string text =
      folder_.file("story.txt", read_bytes(kSamples + "stories260K/expected_greedy_256.txt"));
  const auto metrics = json_of(
      "lowbank-evaluate",
      {"--task", "perplexity", "--data", text, "--context", "64", "--out", folder_.path("run")});
  // The model's own most likely text surprises it little; shuffled words would cost hundreds.
  EXPECT_LT(metrics["perplexity"], 4.0);
  EXPECT_GT(metrics["perplexity"], 1.0);
  EXPECT_EQ(metrics["task"], "perplexity");
  EXPECT_EQ(metrics["num_chunks"].get<int>() * 63, metrics["num_predicted"].get<int>());
  for (const auto* key : {"nll_sum", "word_perplexity", "byte_perplexity", "bits_per_byte",
                          "tokens_per_second", "context", "stride", "num_tokens", "num_words",
                          "num_bytes", "keep_last", "special", "max_chars", "max_chunks"}) {
    EXPECT_TRUE(metrics.contains(key)) << key;
  }
  EXPECT_EQ(nlohmann::json::parse(read_bytes(folder_.path("run/metrics.json"))), metrics);
}

TEST_F(EvaluateStage, BadInputsAreOneLineAndLeaveNoFolder) {
  const auto evaluate = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--out", folder_.path("run")});
    return run("lowbank-evaluate", words);
  };
  const std::string text = folder_.file("short.txt", "Once upon a time");
  expect_refusal(evaluate({"--data", text}), 2, "shorten the context");
  expect_refusal(evaluate({"--data", text, "--context", "513"}), 2, "context");
  expect_refusal(evaluate({"--data", folder_.path("absent.txt")}), 3, "absent.txt");
  expect_refusal(evaluate({"--data", folder_.file("bad.txt", "a\xFF")}), 3, "UTF-8");
  expect_refusal(evaluate({}), 2, "data is missing");
  EXPECT_FALSE(fs::exists(folder_.path("run")));
}

using TokenizeStage = StoriesModel;

TEST_F(TokenizeStage, WritesIdsAndTextForEveryLine) {
  const std::string in = folder_.file(
      "in.jsonl", "{\"text\": \"Once upon a time\"}\r\n{\"text\": \"caf\\u00e9\", \"id\": 7}\n");
  const std::string out = folder_.path("out.jsonl");
  const auto metrics = json_of("lowbank-tokenize", {"--file", in, "--out", out});
  EXPECT_EQ(metrics["num_texts"], 2);
  EXPECT_EQ(read_bytes(out),
            "{\"ids\":[403,407,261,378],\"text\":\"Once upon a time\"}\n"
            "{\"ids\":[280,412,431,485],\"text\":\"caf\xC3\xA9\"}\n");
  const auto special = run("lowbank-tokenize", {"--file", in, "--special"});
  EXPECT_THAT(special.out, ::testing::StartsWith("{\"ids\":[1,403,407,261,378],"));
}

TEST_F(TokenizeStage, ABadLineIsNamedAndNothingIsWritten) {
  const std::string out = folder_.path("out.jsonl");
  for (const std::string& bad :
       std::vector<std::string>{"{\"text\": 3}", "{\"txt\": \"a\"}", "[]", "{\"text\":", ""}) {
    const std::string in = folder_.file("in.jsonl", "{\"text\": \"a\"}\n" + bad + "\n");
    expect_refusal(run("lowbank-tokenize", {"--file", in, "--out", out}), 3, "line 2");
    EXPECT_FALSE(fs::exists(out));
  }
}

}  // namespace
}  // namespace lowbank
