#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "train_runs.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;

/// The commands on small BERTs of the parity fixtures, with a vocabulary of letters and seven
/// words.
class FinetuneBertStage : public testing::TrainStage {
 protected:
  void SetUp() override {
    std::string rows = "text\tother\tmood\n";
    for (int i = 0; i < 60; ++i) {
      const bool is_good = i * 7 % 5 < 2;
      rows += std::string(i % 3 == 0 ? "the king is " : "not very ") + (is_good ? "good" : "bad") +
              (i % 2 == 0 ? " is the" : "") + "\tking\t" + (is_good ? "glad" : "sad") + "\n";
    }
    table_ = folder_.file("table.tsv", rows);
  }
  /// A copy of a fixture with the tokenizer.
  std::string bert(const std::string& name) const {
    const std::string source = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/" + name;
    if (!fs::exists(folder_.path(name))) {
      fs::create_directory(folder_.path(name));
      for (const char* file : {"/config.json", "/model.safetensors"}) {
        fs::copy_file(source + file, folder_.path(name) + file);
      }
      std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
      for (const char* prefix : {"", "##"}) {
        for (char c = 'a'; c <= 'z'; ++c) vocabulary += std::string(prefix) + c + "\n";
      }
      folder_.file(name + "/vocab.txt", vocabulary + "good\nbad\nthe\nis\nnot\nvery\nking\n");
    }
    return folder_.path(name);
  }
  std::vector<std::string> words(const std::string& model, const std::string& run,
                                 const std::vector<std::string>& settings,
                                 std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {bert(model), "--out", folder_.path(run), "--threads", "1",
                                    "--seed",    "5"};
    for (const auto& setting : settings) all.insert(all.end(), {"--set", setting});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> classifying(std::vector<std::string> more = {}) const {
    std::vector<std::string> settings = {
        "objective=classification", "data.train=" + table_, "data.valid=" + table_,
        "data.context=16",          "table.sentence=text",  "table.label=mood",
        "table.classes=sad,glad",   "train.steps=12",       "train.warmup_steps=2",
        "train.eval_every=5",       "train.save_every=4"};
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
  }
  std::vector<std::string> masking(std::vector<std::string> more = {}) const {
    std::vector<std::string> settings = {"objective=masked_lm",
                                         "data.train=" + shared_->path("train.txt"),
                                         "data.valid=" + shared_->path("valid.txt"),
                                         "data.context=16",
                                         "train.steps=12",
                                         "train.warmup_steps=2",
                                         "train.eval_every=5",
                                         "train.save_every=4"};
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
  }
  void expect_refusal(int exit_code, const std::string& text, const std::string& model,
                      const std::vector<std::string>& settings) const {
    const auto result = run_command("lowbank-finetune", words(model, "refused", settings));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_FALSE(fs::exists(folder_.path("refused")));
  }
  void expect_same_outputs(const std::string& a, const std::string& b) const {
    for (const char* file :
         {"checkpoint/model.safetensors", "checkpoint/config.json", "checkpoint/lowbank.json"}) {
      EXPECT_EQ(read_bytes(folder_.path(a + "/" + file)), read_bytes(folder_.path(b + "/" + file)))
          << file;
    }
    for (const char* file : {"metrics.jsonl", "metrics.json"}) {
      EXPECT_EQ(without_time(folder_.path(a + "/" + file)),
                without_time(folder_.path(b + "/" + file)))
          << file;
    }
  }
  std::string table_;
};

TEST_F(FinetuneBertStage, AnEncoderLearnsToClassifyATable) {
  const auto result = run_command(
      "lowbank-finetune",
      words("bert_no_pooler", "run",
            classifying({"train.steps=60", "train.learning_rate=3e-3", "train.eval_max_chunks=0"}),
            {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_LT(metrics["start_valid_accuracy"].get<double>(), 0.8);
  EXPECT_EQ(metrics["valid_accuracy"].get<double>(), 1.0);
  const auto config = nlohmann::json::parse(read_text(folder_.path("run/checkpoint/config.json")));
  EXPECT_EQ(config["architectures"], nlohmann::json({"BertForSequenceClassification"}));
  EXPECT_EQ(config["id2label"], nlohmann::json({{"0", "sad"}, {"1", "glad"}}));
  EXPECT_TRUE(fs::exists(folder_.path("run/checkpoint/vocab.txt")));
  // The trained classifier continues; without an objective its head says what is learned.
  std::vector<std::string> again = {folder_.path("run"), "--out", folder_.path("again"), "--json"};
  for (const auto& setting : classifying({"train.steps=0", "train.warmup_steps=0"})) {
    if (!setting.starts_with("objective")) again.insert(again.end(), {"--set", setting});
  }
  const auto second = run_command("lowbank-finetune", again);
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(nlohmann::json::parse(last_line(second.out))["start_valid_accuracy"], 1.0);
}

TEST_F(FinetuneBertStage, PairsAndNumbersAreLearnedToo) {
  folder_.file("pairs.tsv", "a\tb\tscore\nthe king\tking\t2.5\nnot good\tbad\t-1\nis\tking\t0\n");
  const auto result = run_command(
      "lowbank-finetune",
      words("bert_masked_lm", "run",
            classifying({"data.train=" + folder_.path("pairs.tsv"),
                         "data.valid=" + folder_.path("pairs.tsv"), "table.sentence=a",
                         "table.second_sentence=b", "table.label=score",
                         "table.classes=", "train.steps=40", "train.learning_rate=3e-3"}),
            {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_LT(metrics["valid_loss"].get<double>(), 0.5 * metrics["start_valid_loss"].get<double>());
  EXPECT_FALSE(metrics.contains("valid_accuracy"));
}

TEST_F(FinetuneBertStage, AMaskedLanguageModelLearnsAText) {
  const auto result =
      run_command("lowbank-finetune",
                  words("bert_masked_lm", "run",
                        masking({"train.steps=40", "train.learning_rate=3e-3"}), {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_LT(metrics["valid_loss"].get<double>(), metrics["start_valid_loss"].get<double>() - 0.5);
  EXPECT_EQ(metrics["num_tokens"], 40 * 8 * 16);
}

TEST_F(FinetuneBertStage, AKilledRunGoesOnFromItsLastSavedPoint) {
  for (const bool is_masked : {true, false}) {
    const auto settings = is_masked ? masking() : classifying();
    const std::string model = is_masked ? "bert_masked_lm" : "bert_model";
    const std::string whole = model + "_whole", cut = model + "_cut";
    ASSERT_EQ(run_command("lowbank-finetune", words(model, whole, settings)).exit_code, 0);
    // The eighth line is written when the first point, after step 4, is on disk.
    const int status = run_and_signal("lowbank-finetune", words(model, cut, settings),
                                      folder_.path(cut), 8, SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto resumed = run_command("lowbank-finetune", words(model, cut, settings, {"--resume"}));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr("going on after step"));
    expect_same_outputs(whole, cut);
  }
}

TEST_F(FinetuneBertStage, ObjectivesAndHeadsThatDoNotFitAreRefused) {
  expect_refusal(2, "objective masked_lm needs a masked language model", "bert_two_labels",
                 masking());
  expect_refusal(2, "objective next_token needs a causal language model", "bert_masked_lm",
                 masking({"objective=next_token"}));
  expect_refusal(2, "has no head to train; set objective to classification", "bert_model",
                 masking({"objective=auto"}));
  expect_refusal(2, "its classifier has 3 outputs, but the table has 2 classes",
                 "bert_three_labels", classifying());
  expect_refusal(2, "classification needs an encoder (BERT)", "llama_default", classifying());
  expect_refusal(2, "objective: 'regression' is not one of auto, next_token", "bert_model",
                 classifying({"objective=regression"}));
}

TEST_F(FinetuneBertStage, TablesThatDoNotFitAreRefused) {
  expect_refusal(3, "column 'sentence' is missing", "bert_model",
                 classifying({"table.sentence=sentence"}));
  expect_refusal(3, "mood: must be one of sad, happy; got 'glad'", "bert_model",
                 classifying({"table.classes=sad,happy"}));
  expect_refusal(3, "mood: must be a number; got 'glad'", "bert_model",
                 classifying({"table.classes="}));
  expect_refusal(2, "table.classes: must be two or more", "bert_model",
                 classifying({"table.classes=sad"}));
  expect_refusal(2, "table.classes: lists a class twice", "bert_model",
                 classifying({"table.classes=sad,glad,sad"}));
  expect_refusal(2, "data.context: must be <= 16", "bert_model", classifying({"data.context=17"}));
}

}  // namespace
}  // namespace lowbank
