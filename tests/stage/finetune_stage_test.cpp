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

class FinetuneStage : public testing::TrainStage {
 protected:
  std::vector<std::string> words(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {model(), "--out", folder_.path(run)};
    const auto training = short_training();
    all.insert(all.end(), training.begin(), training.end());
    all.insert(all.end(), more.begin(), more.end());
    return all;
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
};

TEST_F(FinetuneStage, LowersTheLossOnHeldOutText) {
  const auto result = run_command("lowbank-finetune", words("run", {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_LT(metrics["valid_loss"].get<double>(), metrics["start_valid_loss"].get<double>() - 0.3);
  EXPECT_EQ(metrics["num_tokens"], 12 * 8 * 63);
  EXPECT_EQ(metrics["num_trainable"], metrics["num_params"]);
  EXPECT_FALSE(fs::exists(folder_.path("run/state")));
  EXPECT_TRUE(fs::exists(folder_.path("run/checkpoint/tokenizer.model")));
}

TEST_F(FinetuneStage, CtrlCAndResumeEqualTheUninterruptedRun) {
  ASSERT_EQ(run_command("lowbank-finetune", words("whole")).exit_code, 0);
  const int status =
      run_and_signal("lowbank-finetune", words("cut"), folder_.path("cut"), 4, SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_TRUE(fs::exists(folder_.path("cut/state")));
  EXPECT_FALSE(fs::exists(folder_.path("cut/checkpoint")));
  const auto resumed = run_command("lowbank-finetune", words("cut", {"--resume"}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("going on after step"));
  EXPECT_FALSE(fs::exists(folder_.path("cut/state")));
  expect_same_outputs("whole", "cut");
}

TEST_F(FinetuneStage, AKilledRunGoesOnFromItsLastSavedPoint) {
  ASSERT_EQ(run_command("lowbank-finetune", words("whole")).exit_code, 0);
  // The eighth line is written when the first point, after step 4, is on disk.
  const int status =
      run_and_signal("lowbank-finetune", words("cut"), folder_.path("cut"), 8, SIGKILL);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto resumed = run_command("lowbank-finetune", words("cut", {"--resume"}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("going on after step"));
  expect_same_outputs("whole", "cut");
}

TEST_F(FinetuneStage, OtherSettingsThanThoseOfTheSavedPointAreRefused) {
  run_and_signal("lowbank-finetune", words("cut"), folder_.path("cut"), 4, SIGINT);
  const auto result = run_command("lowbank-finetune",
                                  words("cut", {"--resume", "--set", "train.learning_rate=0.5"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("train.learning_rate was 0.001, is 0.5"));
  EXPECT_EQ(run_command("lowbank-finetune", words("cut", {"--resume"})).exit_code, 0);
}

TEST_F(FinetuneStage, ALossThatIsNotFiniteLeavesTheEarlierCheckpointAlone) {
  ASSERT_EQ(run_command("lowbank-finetune", words("run")).exit_code, 0);
  const auto before = read_bytes(folder_.path("run/checkpoint/model.safetensors"));
  const auto result =
      run_command("lowbank-finetune", words("run", {"--set", "train.learning_rate=1e30"}));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("is not finite at step 2 (learning rate 1e+30)"));
  EXPECT_EQ(read_bytes(folder_.path("run/checkpoint/model.safetensors")), before);
}

TEST_F(FinetuneStage, AMissingTextLeavesNothingBehind) {
  const auto result = run_command(
      "lowbank-finetune", words("run", {"--set", "data.valid=" + folder_.path("nothing.txt")}));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("nothing.txt"));
  EXPECT_FALSE(fs::exists(folder_.path("run")));
}

TEST_F(FinetuneStage, AbsurdNumbersEndAtOnceAndLeaveNothing) {
  for (const std::string setting :
       {"train.micro_batch_size=4611686018427387904", "train.micro_batch_size=1000000000",
        "train.grad_accum_steps=4611686018427387904", "train.steps=4611686018427387904",
        "data.context=1000000000", "threads=1024"}) {
    const auto result = run_command("lowbank-finetune", words("run", {"--set", setting}));
    if (setting == "threads=1024" && result.exit_code == 0) continue;  // 256 processors
    EXPECT_EQ(result.exit_code, 2) << setting;
    EXPECT_THAT(result.err, HasSubstr(setting.substr(0, setting.find('=')) + ": wants")) << setting;
    EXPECT_FALSE(fs::exists(folder_.path("run"))) << setting;
  }
}

TEST_F(FinetuneStage, AContextBeyondTheModelsIsRefused) {
  const auto result = run_command("lowbank-finetune", words("run", {"--set", "data.context=4096"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("data.context: must be <= 512"));
}

}  // namespace
}  // namespace lowbank
