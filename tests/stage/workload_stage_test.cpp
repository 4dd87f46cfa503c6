#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "pim/workload.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using testing::last_line;
using testing::run_command;
using ::testing::StartsWith;
using testing::TempFolder;

const std::string kModel = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/llama_gqa_tied";

TEST(WorkloadStage, WritesOneFileWhereOutNamesAFile) {
  const TempFolder folder;
  const auto result = run_command(
      "lowbank-workload",
      {kModel, "--context", "16", "--batch", "2", "--out", folder.path("workload.json"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto workload = pim::read_workload(folder.path("workload.json"));
  EXPECT_EQ(workload.context, 16);
  EXPECT_EQ(workload.batch, 2);
  EXPECT_EQ(workload.model, "llama_gqa_tied");
  EXPECT_FALSE(workload.prefill.empty());
  EXPECT_FALSE(workload.decode.empty());
  std::int64_t macs = 0;
  for (const auto& op : workload.decode) macs += op.macs();
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["decode"]["total_macs"], macs);
  EXPECT_EQ(metrics["num_params"], workload.num_params);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(WorkloadStage, WritesARunFolderOtherwise) {
  const TempFolder folder;
  const auto out = folder.path("run");
  const auto result = run_command("lowbank-workload", {kModel, "--phase", "decode", "--out", out});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(pim::read_workload(out + "/workload.json").prefill.empty());
  EXPECT_GT(read_json(out + "/metrics.json")["decode"]["total_macs"], 0);
  EXPECT_TRUE(fs::exists(out + "/run.json"));
}

TEST(WorkloadStage, SizesThatDoNotFitAreAUsageErrorAndLeaveNothing) {
  const TempFolder folder;
  const auto out = folder.path("run");
  const auto result =
      run_command("lowbank-workload", {kModel, "--context", "1000000000000", "--out", out});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, StartsWith("lowbank workload: context 1000000000000, batch 1: "));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace lowbank
