#include <csignal>
#include <filesystem>
#include <string>
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

class RedistributeStage : public testing::TrainStage {
 protected:
  static void SetUpTestSuite() {
    TrainStage::SetUpTestSuite();
    const auto result = run_command("lowbank-compress", {model(), small(), "--rank", "ratio:0.5"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  static std::string small() { return shared_->path("small"); }
  std::vector<std::string> words(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {small(), folder_.path(run)};
    const auto training = short_training();
    all.insert(all.end(), training.begin(), training.end());
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

TEST_F(RedistributeStage, WritesACheckpointWithTheImportanceOfEveryRank) {
  const auto result = run_command("lowbank-redistribute", words("run", {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_LT(metrics["valid_loss"].get<double>(), metrics["start_valid_loss"].get<double>());
  EXPECT_EQ(metrics["importance_measure"], "abs_grad");
  EXPECT_EQ(metrics["layers"].size(), 35u);
  const auto& curve = metrics["concentration_curve"];
  for (const char* when : {"before", "after"}) {
    const auto& shares = metrics["concentration"][when];
    EXPECT_GT(shares["top_05_share"].get<double>(), 0.05);
    EXPECT_LT(shares["top_05_share"].get<double>(), shares["top_20_share"].get<double>());
    ASSERT_EQ(curve[when].size(), 101u);
    EXPECT_DOUBLE_EQ(curve[when][0].get<double>(), 0.0);
    EXPECT_DOUBLE_EQ(curve[when][10].get<double>(), shares["top_10_share"].get<double>());
    EXPECT_NEAR(curve[when][100].get<double>(), 1.0, 1e-12);
  }
  EXPECT_TRUE(fs::exists(folder_.path("run/config.json")));
  EXPECT_FALSE(fs::exists(folder_.path("run/state")));
  const auto weights = SafetensorsFile::open(folder_.path("run/model.safetensors"));
  const auto file = SafetensorsFile::open(folder_.path("run/importance.safetensors"));
  EXPECT_EQ(file->entries().size(), 35u * 5u);
  const std::string layer = "model.layers.0.self_attn.q_proj";
  ASSERT_NE(file->find(layer + ".fisher"), nullptr);
  EXPECT_EQ(file->find(layer + ".fisher")->shape, weights->find(layer + ".s")->shape);
  EXPECT_EQ(file->metadata().at("num_examples"),
            std::to_string(metrics["num_examples"].get<int>()));
}

TEST_F(RedistributeStage, CtrlCAndResumeEqualTheUninterruptedRun) {
  ASSERT_EQ(run_command("lowbank-redistribute", words("whole")).exit_code, 0);
  const int status =
      run_and_signal("lowbank-redistribute", words("cut"), folder_.path("cut"), 4, SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_FALSE(fs::exists(folder_.path("cut/config.json")));
  const auto resumed = run_command("lowbank-redistribute", words("cut", {"--resume"}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  for (const char* file : {"model.safetensors", "importance.safetensors", "lowbank.json"}) {
    EXPECT_EQ(read_bytes(folder_.path(std::string("whole/") + file)),
              read_bytes(folder_.path(std::string("cut/") + file)))
        << file;
  }
  for (const char* file : {"/metrics.jsonl", "/metrics.json"}) {
    EXPECT_EQ(without_time(folder_.path("whole") + file), without_time(folder_.path("cut") + file));
  }
}

TEST_F(RedistributeStage, ADenseCheckpointIsRefusedWithAHint) {
  auto all = words("run");
  all[0] = model();
  const auto result = run_command("lowbank-redistribute", all);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("no factored linear; `lowbank compress` makes them"));
  EXPECT_FALSE(fs::exists(folder_.path("run")));
}

TEST_F(RedistributeStage, TheCheckpointItReadsIsNotOverwritten) {
  const auto before = read_bytes(small() + "/model.safetensors");
  auto all = words("run");
  all[1] = small();
  const auto result = run_command("lowbank-redistribute", all);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("is the same place as the input"));
  EXPECT_EQ(read_bytes(small() + "/model.safetensors"), before);
}

}  // namespace
}  // namespace lowbank
