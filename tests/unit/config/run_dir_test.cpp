#include "config/run_dir.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "error_text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::error_text;
using ::testing::HasSubstr;
using testing::SampleConfig;
using testing::TempFolder;

class RunDirTest : public ::testing::Test {
 protected:
  RunDirTest() {
    config.input = folder.file("in.txt", "input");
    config.recipe_name = "r";
  }
  void complete_run(const std::string& path) {
    RunDir out(path, config);
    out.begin();
    out.write("result.txt", "result");
    out.append_metrics({{"step", 1}});
    out.write_metrics({{"loss", 2}});
    out.finish(1.5);
  }
  TempFolder folder;
  SampleConfig config;
};

TEST_F(RunDirTest, ACompleteRunHasAllItsFiles) {
  const std::string path = folder.path("a/b");
  complete_run(path + "//");
  for (const auto* name :
       {"resolved.json", "metrics.jsonl", "metrics.json", "log.txt", "run.json", "result.txt"}) {
    EXPECT_TRUE(fs::exists(path + "/" + name)) << name;
  }
  EXPECT_FALSE(fs::exists(path + "/started.json"));
  const Json run = read_json(path + "/run.json");
  EXPECT_EQ(run["stage"], "sample");
  EXPECT_EQ(run["provenance"], "measured");
  EXPECT_EQ(run["seconds"], 1.5);
  EXPECT_EQ(run["outputs"]["result.txt"]["size_bytes"], 6);
  EXPECT_TRUE(run["fingerprint"]["inputs"].contains(config.input));
}

TEST_F(RunDirTest, ResolvedSettingsAreARecipeAgain) {
  config.steps = 42;
  config.fracs = {0.25};
  complete_run(folder.path("run"));
  SampleConfig again;
  EXPECT_EQ(parse_command_line(std::vector<std::string>{folder.path("run/resolved.json")}, again),
            ParseOutcome::kRun);
  EXPECT_EQ(to_json(again.fields()), to_json(config.fields()));
  EXPECT_EQ(again.recipe_name, "r");
}

TEST_F(RunDirTest, NothingIsCreatedBeforeBegin) {
  { RunDir out(folder.path("x/y"), config); }
  EXPECT_FALSE(fs::exists(folder.path("x")));
}

TEST_F(RunDirTest, AFailedStageLeavesNoFolderAndNoParents) {
  {
    RunDir out(folder.path("x/y/z"), config);
    out.begin();
    out.write("half", "half");
  }
  EXPECT_FALSE(fs::exists(folder.path("x")));
}

TEST_F(RunDirTest, ParentsThatOthersUseStay) {
  fs::create_directory(folder.path("x"));
  {
    RunDir out(folder.path("x/y/z"), config);
    out.begin();
    folder.file("x/y/other", "");
  }
  EXPECT_FALSE(fs::exists(folder.path("x/y/z")));
  EXPECT_TRUE(fs::exists(folder.path("x/y/other")));
}

TEST_F(RunDirTest, AFolderWithMetricsOrThatWasAskedForIsKept) {
  {
    RunDir out(folder.path("a"), config);
    out.begin();
    out.append_metrics({{"step", 1}});
  }
  {
    RunDir out(folder.path("b"), config);
    out.begin();
    out.keep();
  }
  EXPECT_TRUE(fs::exists(folder.path("a/metrics.jsonl")));
  EXPECT_TRUE(fs::exists(folder.path("b/started.json")));
  EXPECT_FALSE(fs::exists(folder.path("a/run.json")));
}

TEST_F(RunDirTest, DamagedMetricsAreTheirOwnKindOfError) {
  RunDir out(folder.path("run"), config);
  out.begin();
  const std::string good = R"({"step": 1})";
  for (const std::string bad : {"{\"step\": \"\xff\"}", "7", "{damaged", "\x80"}) {
    folder.file("run/metrics.jsonl", good + "\n" + bad + "\n" + good + "\n");
    EXPECT_THAT(error_text<DamagedRecord>([&] { out.read_metrics(); }),
                HasSubstr("run/metrics.jsonl:2: damaged"))
        << bad;
    folder.file("run/metrics.jsonl", good + "\n" + bad);  // half a last line
    EXPECT_EQ(out.read_metrics().size(), 1u);
  }
}

TEST_F(RunDirTest, AnEarlierRunIsUntouchedUntilBegin) {
  const std::string path = folder.path("run");
  complete_run(path);
  { RunDir out(path, config); }
  EXPECT_TRUE(fs::exists(path + "/run.json"));
  {
    RunDir out(path, config);
    out.begin();
  }
  EXPECT_TRUE(fs::exists(path + "/result.txt")) << "only a folder of our own making is removed";
  EXPECT_FALSE(fs::exists(path + "/run.json"));
  EXPECT_FALSE(fs::exists(path + "/metrics.json"));
}

TEST_F(RunDirTest, AFreshRunDropsEarlierMetricsAndStateAndAResumedOneKeepsThem) {
  const std::string path = folder.path("run");
  complete_run(path);
  fs::create_directory(path + "/state");
  config.resume = true;
  {
    RunDir out(path, config);
    out.begin();
  }
  EXPECT_TRUE(fs::exists(path + "/metrics.jsonl"));
  EXPECT_TRUE(fs::exists(path + "/state"));
  config.resume = false;
  {
    RunDir out(path, config);
    out.begin();
  }
  EXPECT_FALSE(fs::exists(path + "/metrics.jsonl"));
  EXPECT_FALSE(fs::exists(path + "/state"));
}

TEST_F(RunDirTest, ForeignFilesAreNotOverwritten) {
  folder.file("precious", "x");
  EXPECT_THAT(error_text<ConfigError>([&] { RunDir(folder.path(), config); }),
              HasSubstr("holds files that no Lowbank stage wrote"));
  fs::create_directory(folder.path("empty"));
  EXPECT_NO_THROW(RunDir(folder.path("empty"), config));
}

// Not by permissions: the tests may run as root, whom they do not stop.
TEST_F(RunDirTest, AFolderThatCannotBeMadeIsAnIoError) {
  const std::string file = folder.file("file", "");
  EXPECT_THAT(error_text<IoError>([&] { RunDir(file, config); }), HasSubstr("is a file"));
  EXPECT_THAT(error_text<IoError>([&] { RunDir(file + "/a/b", config); }),
              HasSubstr("is not a folder"));
  EXPECT_THAT(error_text<IoError>([&] { RunDir("/proc/lowbank/run", config).begin(); }),
              HasSubstr("/proc/lowbank/run"));
}

TEST_F(RunDirTest, MetricsLinesAreKeptUpToTheSavedStepAndHalfALineIsDropped) {
  RunDir out(folder.path("run"), config);
  out.begin();
  for (int step = 1; step <= 3; ++step) out.append_metrics({{"step", step}});
  folder.file("run/metrics.jsonl", read_bytes(out.path("metrics.jsonl")) + "{\"step\": 4, \"lo");
  EXPECT_EQ(out.read_metrics(), (Json::array({{{"step", 1}}, {{"step", 2}}, {{"step", 3}}})));
  out.keep_metrics([](const Json& line) { return line["step"] <= 2; });
  EXPECT_EQ(read_bytes(out.path("metrics.jsonl")), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(RunDirTest, ADamagedLineOfMetricsIsNamed) {
  RunDir out(folder.path("run"), config);
  out.begin();
  for (const char* line : {"{\"step\": ", "[1]", "7", "\xff"}) {
    folder.file("run/metrics.jsonl", std::string("{\"step\": 1}\n") + line + "\n{\"step\": 3}\n");
    const auto error = error_text<IoError>([&] { out.read_metrics(); });
    EXPECT_THAT(error, HasSubstr("metrics.jsonl")) << line;
  }
}

TEST_F(RunDirTest, TheFolderOfAnotherStageIsRefused) {
  complete_run(folder.path("run"));
  folder.file("run/resolved.json", R"({"stage": "compress"})");
  EXPECT_THAT(error_text<ConfigError>([&] { RunDir(folder.path("run"), config); }),
              HasSubstr("holds the results of `lowbank compress`"));
  folder.file("run/resolved.json", "{");
  EXPECT_NO_THROW(RunDir(folder.path("run"), config)) << "run.json shows that it is a run";
  fs::create_directories(folder.path("mine"));
  folder.file("mine/resolved.json", "{");
  EXPECT_THROW(RunDir(folder.path("mine"), config), ConfigError);
}

TEST_F(RunDirTest, WhatAKilledStartLeftDoesNotStopTheNext) {
  fs::create_directories(folder.path("run"));
  folder.file("run/.lock", "lowbank sample (process 1)");
  folder.file("run/resolved.json.2000000000.tmp", "{\"st");
  complete_run(folder.path("run"));
  EXPECT_FALSE(fs::exists(folder.path("run/resolved.json.2000000000.tmp")));
  EXPECT_FALSE(fs::exists(folder.path("run/.lock")));
  fs::create_directories(folder.path("mine"));
  folder.file("mine/notes.2000000000.tmp", "");
  EXPECT_THROW(complete_run(folder.path("mine")), ConfigError);
  EXPECT_TRUE(fs::exists(folder.path("mine/notes.2000000000.tmp")));
}

TEST_F(RunDirTest, TwoStagesCannotWorkInOneFolder) {
  RunDir first(folder.path("run"), config);
  first.begin();
  first.append_metrics({{"step", 1}});
  RunDir second(folder.path("run"), config);
  EXPECT_THAT(error_text<IoError>([&] { second.begin(); }), HasSubstr("in use by lowbank sample"));
  EXPECT_EQ(first.read_metrics().size(), 1u);
}

TEST_F(RunDirTest, NothingIsWrittenThroughLinks) {
  const std::string outside = folder.file("outside.txt", "mine");
  fs::create_directories(folder.path("run"));
  folder.file("run/resolved.json", R"({"stage": "sample"})");
  for (const char* name : {"metrics.json", "run.json", "result.txt"}) {
    fs::create_symlink(outside, folder.path("run") + "/" + name);
  }
  complete_run(folder.path("run"));
  EXPECT_EQ(read_bytes(outside), "mine");
  fs::create_directories(folder.path("elsewhere"));
  fs::create_symlink(folder.path("elsewhere"), folder.path("run/state"));
  EXPECT_THAT(error_text<ConfigError>([&] { complete_run(folder.path("run")); }),
              HasSubstr("run/state: is a link to a folder"));
  fs::remove(folder.path("run/state"));
  fs::create_symlink(outside, folder.path("run/log2"));
  fs::remove(folder.path("run/log.txt"));
  fs::create_symlink(outside, folder.path("run/log.txt"));
  EXPECT_THROW(complete_run(folder.path("run")), IoError);
  EXPECT_EQ(read_bytes(outside), "mine");
}

TEST_F(RunDirTest, NotesGoToTheLogOfTheRunningStageOnly) {
  {
    RunDir out(folder.path("run"), config);
    out.begin();
    out.keep();
    ::testing::internal::CaptureStderr();
    note("inside");
  }
  note("outside");
  ::testing::internal::GetCapturedStderr();
  const std::string log = read_bytes(folder.path("run/log.txt"));
  EXPECT_THAT(log, HasSubstr("inside"));
  EXPECT_THAT(log, ::testing::Not(HasSubstr("outside")));
}

}  // namespace
}  // namespace lowbank
