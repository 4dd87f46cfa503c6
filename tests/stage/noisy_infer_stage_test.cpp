#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "train_runs.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;

class NoisyInferStage : public testing::TrainStage {
 protected:
  static void SetUpTestSuite() {
    TrainStage::SetUpTestSuite();
    const auto result = run_command("lowbank-compress", {model(), small(), "--rank", "ratio:0.5"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  static std::string small() { return shared_->path("small"); }
  std::vector<std::string> words(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {small(),
                                    "--out",
                                    folder_.path(run),
                                    "--data",
                                    shared_->path("valid.txt"),
                                    "--context",
                                    "64",
                                    "--max-chunks",
                                    "2",
                                    "--trials",
                                    "3",
                                    "--slc-frac",
                                    "0,0.2,1",
                                    "--importance",
                                    "rank_order,random",
                                    "--threads",
                                    "1",
                                    "--seed",
                                    "3"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

TEST_F(NoisyInferStage, CurvesMeetAtBothEndsAndEndAtTheQuantisedModel) {
  const auto result = run_command("lowbank-noisy-infer", words("run", {"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  const double quantised = metrics["quantised_perplexity"];
  EXPECT_NE(metrics["clean_perplexity"].get<double>(), quantised);
  EXPECT_EQ(metrics["cells_per_weight"], 5);  // two's complement, the signed top slice is a pair
  ASSERT_EQ(metrics["curves"].size(), 2u);
  const auto& ordered = metrics["curves"][0]["points"];
  const auto& random = metrics["curves"][1]["points"];
  ASSERT_EQ(ordered.size(), 3u);
  EXPECT_EQ(ordered[0], random[0]) << "nothing protected: no selection";
  EXPECT_EQ(ordered[2], random[2]) << "all protected: no selection";
  EXPECT_NE(ordered[1]["trials"], random[1]["trials"]);
  for (const auto& point : ordered) {
    EXPECT_EQ(point["num_trials"], 3);
    EXPECT_EQ(point["num_diverged"], 0);
    EXPECT_LE(point["ci95_low"].get<double>(), point["mean"].get<double>());
  }
  EXPECT_GT(std::abs(ordered[0]["mean"].get<double>() / quantised - 1), 1e-6) << "no noise";
  EXPECT_NEAR(ordered[2]["mean"].get<double>(), quantised, 1e-9 * quantised);
  EXPECT_EQ(ordered[2]["num_protected_ranks"], metrics["num_ranks"]);
  EXPECT_DOUBLE_EQ(ordered[0]["cells_frac"].get<double>(), 1.0);
  EXPECT_NEAR(ordered[2]["cells_frac"].get<double>(), 8.0 / 5.0, 1e-12);  // one bit a cell
}

TEST_F(NoisyInferStage, TheSeedDecidesTheNoise) {
  const auto trials_of_first_point = [&](const std::string& run, std::vector<std::string> more) {
    const auto result = run_command("lowbank-noisy-infer", words(run, std::move(more)));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return without_time(folder_.path(run + "/metrics.json"))[0]["curves"][0]["points"][0]["trials"];
  };
  const auto first = trials_of_first_point("a", {});
  EXPECT_EQ(trials_of_first_point("b", {}), first);
  EXPECT_NE(trials_of_first_point("c", {"--seed", "4"}), first);
}

TEST_F(NoisyInferStage, CtrlCAndResumeEqualTheUninterruptedRun) {
  const std::vector<std::string> many = {"--trials", "100"};
  ASSERT_EQ(run_command("lowbank-noisy-infer", words("whole", many)).exit_code, 0);
  const int status =
      run_and_signal("lowbank-noisy-infer", words("cut", many), folder_.path("cut"), 6, SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_FALSE(fs::exists(folder_.path("cut/metrics.json")));
  const auto resumed =
      run_command("lowbank-noisy-infer", words("cut", {"--trials", "100", "--resume"}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(without_time(folder_.path("whole/metrics.json")),
            without_time(folder_.path("cut/metrics.json")));
}

TEST_F(NoisyInferStage, TrialsOfOtherSettingsAreNotTakenOver) {
  ASSERT_EQ(run_command("lowbank-noisy-infer", words("run")).exit_code, 0);
  const auto result =
      run_command("lowbank-noisy-infer", words("run", {"--resume", "--set", "noise.sigma=0.1"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("without --resume"));
}

TEST_F(NoisyInferStage, WhatIsMissingIsSaidWithTheCommandThatMakesIt) {
  const auto no_importance =
      run_command("lowbank-noisy-infer", words("run", {"--importance", "abs_grad"}));
  EXPECT_EQ(no_importance.exit_code, 2);
  EXPECT_THAT(no_importance.err, HasSubstr("lowbank redistribute"));
  auto dense = words("run");
  dense[0] = model();
  const auto not_factored = run_command("lowbank-noisy-infer", dense);
  EXPECT_EQ(not_factored.exit_code, 2);
  EXPECT_THAT(not_factored.err, HasSubstr("lowbank compress"));
  const auto unknown_encoding =
      run_command("lowbank-noisy-infer", words("run", {"--set", "noise.encoding=gray"}));
  EXPECT_EQ(unknown_encoding.exit_code, 2);
  EXPECT_THAT(unknown_encoding.err, HasSubstr("sign_magnitude"));
  EXPECT_FALSE(fs::exists(folder_.path("run")));
}

}  // namespace
}  // namespace lowbank
