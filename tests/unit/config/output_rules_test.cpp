#include "config/output_rules.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/stages/estimate_config.h"
#include "config/stages/report_config.h"
#include "core/error.h"
#include "core/opened_files.h"
#include "core/text.h"
#include "error_text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using testing::SampleConfig;
using testing::TempFolder;

class OutputRulesTest : public ::testing::Test {
 protected:
  OutputRulesTest() {
    fs::create_directories(folder.path("model/checkpoint"));
    folder.file("model/config.json", "{}");
    config.input = folder.path("model");
  }
  std::string refusal(const std::string& out) {
    config.common.out = out;
    return error_text<ConfigError>([&] { check_outputs(config); });
  }
  TempFolder folder;
  SampleConfig config;
};

TEST_F(OutputRulesTest, AnOutputIsNeverAnInputNorAboveNorInsideOne) {
  EXPECT_THAT(refusal(folder.path("model")), HasSubstr("is the same place as the input"));
  EXPECT_THAT(refusal(folder.path("model/")), HasSubstr("the same place as"));
  EXPECT_THAT(refusal(folder.path("other/../model/.")), HasSubstr("the same place as"));
  EXPECT_THAT(refusal(folder.path("model/new/run")), HasSubstr("is inside the input"));
  EXPECT_THAT(refusal(folder.path("")), HasSubstr("is above the input"));
  config.files = {folder.path("model/config.json")};
  config.input = folder.path("elsewhere");
  EXPECT_THAT(refusal(folder.path("model")), HasSubstr("above"));
}

TEST_F(OutputRulesTest, LinksLeadToTheSamePlace) {
  fs::create_symlink(folder.path("model"), folder.path("link"));
  EXPECT_THAT(refusal(folder.path("link")), HasSubstr("the same place as"));
  EXPECT_THAT(refusal(folder.path("link/new")), HasSubstr("inside"));
}

TEST_F(OutputRulesTest, NeighboursAreFree) {
  for (const char* out : {"model2", "model-out", "mode", "run/deep"}) {
    config.common.out = folder.path(out);
    EXPECT_NO_THROW(check_outputs(config)) << out;
  }
}

TEST_F(OutputRulesTest, AFileThatWasReadIsNoOutput) {
  forget_opened_files();
  read_bytes(folder.file("recipe.json", "{}"));
  fs::create_symlink(folder.path("recipe.json"), folder.path("link.json"));
  EXPECT_THAT(refusal(folder.path("recipe.json")), HasSubstr("which the command reads"));
  EXPECT_THAT(refusal(folder.path("link.json")), HasSubstr("which the command reads"));
  EXPECT_EQ(refusal(folder.path("recipe2.json")), "no error");
}

TEST_F(OutputRulesTest, APresetIsNoOutput) {
  EstimateConfig estimate;
  estimate.workload = {folder.file("w.json", "{}")};
  estimate.system = {"gpu-a100", folder.file("own.json", "{}")};
  estimate.common.out = folder.path("own.json");
  EXPECT_THAT(error_text<ConfigError>([&] { check_outputs(estimate); }),
              HasSubstr("is the same place as the input"));
}

TEST_F(OutputRulesTest, TwoOutputsAreTwoPlaces) {
  EstimateConfig estimate;
  estimate.pim_calls = folder.file("calls.csv", "");
  estimate.common.out = folder.path("new.csv");
  estimate.trace = folder.path("./new.csv");
  EXPECT_THAT(error_text<ConfigError>([&] { check_outputs(estimate); }),
              HasSubstr("is the same place as"));
  estimate.common.out = folder.path("run/");
  estimate.trace = folder.path("run/run.json");
  EXPECT_THAT(error_text<ConfigError>([&] { check_outputs(estimate); }),
              HasSubstr("is a record of the run"));
  estimate.trace = folder.path("run/trace.csv");
  EXPECT_NO_THROW(check_outputs(estimate));
}

TEST_F(OutputRulesTest, AReportMayLieInTheFolderOfItsRuns) {
  ReportConfig report;
  report.runs = {folder.path("model")};
  report.common.out = folder.path("model/report");
  EXPECT_NO_THROW(check_outputs(report));
  report.common.out = folder.path("model");
  EXPECT_THROW(check_outputs(report), ConfigError);
}

}  // namespace
}  // namespace lowbank
