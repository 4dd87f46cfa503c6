// Runs the real front command.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/make_stage_config.h"
#include "pim/workload.h"
#include "run_command.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::run_command;
using ::testing::StartsWith;

TEST(FrontTest, HelpListsEveryCommandWithItsPurpose) {
  const auto result = run_command("lowbank", {"--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("\n  run "));
  for (const auto& name : stage_names()) {
    EXPECT_THAT(result.out, HasSubstr(make_stage_config(name)->info().purpose));
  }
  EXPECT_EQ(run_command("lowbank", {"help"}).out, result.out);
  EXPECT_EQ(result.err, "");
}

TEST(FrontTest, WithoutAWordItShowsTheHelpAsAnError) {
  const auto result = run_command("lowbank", {});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("usage: lowbank <command>"));
}

TEST(FrontTest, AnUnknownCommandIsOneLineWithASuggestion) {
  auto result = run_command("lowbank", {"inspct"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.err,
            "lowbank: unknown command 'inspct'; did you mean 'inspect'? (see lowbank --help)\n");
  result = run_command("lowbank", {"--verbose"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, StartsWith("lowbank: unknown option '--verbose'"));
}

TEST(FrontTest, ACommandIsStartedWithItsArguments) {
  const auto direct = run_command("lowbank-inspect", {"--help"});
  EXPECT_EQ(direct.exit_code, 0);
  EXPECT_EQ(run_command("lowbank", {"inspect", "--help"}).out, direct.out);
  EXPECT_EQ(run_command("lowbank", {"help", "inspect"}).out, direct.out);
  EXPECT_EQ(run_command("lowbank", {"inspect", "--linearz", "x"}).exit_code, 2);
  EXPECT_EQ(run_command("lowbank", {"inspect", "no such folder"}).exit_code, 3);
}

TEST(FrontTest, VersionsAreOne) {
  const auto result = run_command("lowbank", {"--version"});
  EXPECT_THAT(result.out, StartsWith("lowbank 0."));
  EXPECT_EQ(run_command("lowbank", {"run", "--version"}).out, result.out);
  EXPECT_EQ(run_command("lowbank-inspect", {"--version"}).out, result.out);
}

TEST(FrontTest, RunHasItsOwnHelpAndExitCodes) {
  EXPECT_THAT(run_command("lowbank", {"run", "--help"}).out,
              HasSubstr("usage: lowbank run RECIPE.json"));
  EXPECT_EQ(run_command("lowbank", {"run"}).exit_code, 2);
  const auto missing = run_command("lowbank", {"run", "none.json"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_EQ(missing.err, "lowbank run: none.json: cannot open: No such file or directory\n");
}

// The one stage that links no torch and takes no checkpoint, end to end.
TEST(FrontTest, ARecipeOfRealStagesRunsAndIsSkippedTheSecondTime) {
  setenv("LOWBANK_HOME", LOWBANK_SOURCE_DIR, 1);  // the build folder may lie elsewhere
  const testing::TempFolder folder;
  pim::Workload workload;
  workload.model = "m";
  workload.context = 8;
  workload.num_layers = 1;
  pim::Operator linear;
  linear.name = "model.layers.0.mlp.up_proj";
  linear.layer = 0;
  linear.m = 8;
  linear.n = 64;
  linear.k = 64;
  linear.weight_bytes = 4 * 64 * 64;
  workload.prefill = {linear};
  linear.m = 1;
  workload.decode = {linear};
  const std::string file = folder.file("workload.json", pim::workload_to_json(workload));
  const std::string recipe =
      folder.file("r.json", R"({"stages": [{"stage": "estimate", "workload": ")" + file +
                                R"(", "system": "gpu-a100"}]})");
  for (const bool skipped : {false, true}) {
    const auto result =
        run_command("lowbank", {"run", recipe, "--out", folder.path("out"), "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto json = nlohmann::json::parse(testing::last_line(result.out));
    EXPECT_EQ(json["stages"][0]["skipped"], skipped);
    EXPECT_EQ(json["report"], nullptr);
  }
}

}  // namespace
}  // namespace lowbank
