#include "config/run_stage.h"

#include <fcntl.h>
#include <filesystem>
#include <new>
#include <system_error>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::SampleConfig;
using ::testing::StartsWith;
using testing::TempFolder;

class RunStageTest : public ::testing::Test {
 protected:
  using Body = std::function<void(RunDir*, Metrics&)>;
  int run(std::vector<std::string> words, const Body& body) {
    words.insert(words.begin(), "lowbank-sample");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    SampleConfig config;
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int exit_code =
        run_stage_erased(static_cast<int>(argv.size()), argv.data(), config, body);
    out = ::testing::internal::GetCapturedStdout();
    err = ::testing::internal::GetCapturedStderr();
    configure_log({});
    return exit_code;
  }
  template <class Thrown>
  int run_throwing(const Thrown& thrown) {
    return run({folder.file("in", ""), folder.path("out")}, [&](RunDir* dir, Metrics&) {
      dir->begin();
      throw thrown;
    });
  }
  TempFolder folder;
  std::string out;
  std::string err;
};

TEST_F(RunStageTest, AStageThatWorksLeavesACompleteFolder) {
  const int exit_code = run({folder.file("in", ""), folder.path("out")},
                            [](RunDir*, Metrics& metrics) { metrics["loss"] = 2.5; });
  EXPECT_EQ(exit_code, kExitOk);
  EXPECT_EQ(read_json(folder.path("out/metrics.json"))["loss"], 2.5);
  EXPECT_TRUE(fs::exists(folder.path("out/run.json")));
}

TEST_F(RunStageTest, JsonIsTheLastLineOfStandardOutputAndTheOnlyOne) {
  run({folder.file("in", ""), folder.path("out"), "--json"}, [](RunDir*, Metrics& metrics) {
    print("a table");
    metrics["text"] = "two\nlines \xFF";
  });
  EXPECT_THAT(out, AllOf(StartsWith("{\"text\":\"two\\nlines"), EndsWith("\"}\n")));
  EXPECT_EQ(split_lines(out).size(), 1u);
  EXPECT_THAT(err, HasSubstr("a table"));
}

TEST_F(RunStageTest, EveryFailureIsOneLineAndItsExitCode) {
  EXPECT_EQ(run_throwing(ConfigError("a: wrong")), 2);
  EXPECT_EQ(err, "lowbank sample: a: wrong\n");
  EXPECT_EQ(run_throwing(IoError("f: missing")), 3);
  EXPECT_EQ(run_throwing(ResourceError("loss is not finite")), 3);
  EXPECT_EQ(run_throwing(std::bad_alloc()), 3);
  EXPECT_THAT(err, HasSubstr("out of memory"));
  EXPECT_EQ(run_throwing(std::runtime_error("DefaultCPUAllocator: can't allocate memory: x")), 3);
  EXPECT_EQ(run_throwing(std::system_error(ENOSPC, std::generic_category(), "f")), 3);
  EXPECT_EQ(run_throwing(std::logic_error("index\n  at frame 1\n  at frame 2")), 70);
  EXPECT_EQ(err, "lowbank sample: internal error, please report it: index\n");
  EXPECT_FALSE(fs::exists(folder.path("out")));
}

TEST_F(RunStageTest, AnErrorKeepsItsReasonWhateverTheNamesInIt) {
  EXPECT_EQ(run_throwing(IoError("a\nb\x1b[31m\xC2\x9B\xFF.txt: cannot open: No such file")), 3);
  EXPECT_EQ(err, "lowbank sample: a\\nb\\x1b[31m\\u009b\\xff.txt: cannot open: No such file\n");
}

TEST_F(RunStageTest, AValueThatDoesNotFitTheInputsNamesTheRecipeItComesFrom) {
  const auto body = [](RunDir*, Metrics&) {
    throw ConfigError("noise.sigma: must be <= 1; got 2");
  };
  const std::string recipe = folder.file("r.json", R"({"noise": {"sigma": 2}})");
  const std::string input = folder.file("in", "");
  EXPECT_EQ(run({recipe, input, folder.path("out")}, body), 2);
  EXPECT_EQ(err, "lowbank sample: " + recipe + ": noise.sigma: must be <= 1; got 2\n");
  run({recipe, input, folder.path("out"), "--set", "noise.sigma=2"}, body);
  EXPECT_EQ(err, "lowbank sample: noise.sigma: must be <= 1; got 2\n");
  run({recipe, input, folder.path("out")},
      [](RunDir*, Metrics&) { throw ConfigError("x.json: wrong shape"); });
  EXPECT_EQ(err, "lowbank sample: x.json: wrong shape\n") << "another file is at fault";
}

TEST_F(RunStageTest, TheHintOnMemoryNamesKeysThatTheCommandHas) {
  run_throwing(std::bad_alloc());
  EXPECT_EQ(err, "lowbank sample: out of memory\n");
  ::testing::internal::CaptureStderr();
  guarded_main(
      "x", []() -> int { throw std::bad_alloc(); },
      [] {
        return std::vector<std::string>{"batch_size", "context"};
      });
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "lowbank x: out of memory; try a smaller batch_size or context\n");
}

TEST_F(RunStageTest, AStageWhoseResultCannotBePrintedIsCompleteAndFails) {
  const std::string input = folder.file("in", "");
  const int saved = dup(STDOUT_FILENO);
  const int full = open("/dev/full", O_WRONLY);
  dup2(full, STDOUT_FILENO);
  ::testing::internal::CaptureStderr();
  std::vector<std::string> words = {"lowbank-sample", input, folder.path("out")};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  SampleConfig config;
  const int exit_code = run_stage_erased(static_cast<int>(argv.size()), argv.data(), config,
                                         [](RunDir*, Metrics&) { print("the result"); });
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(full);
  EXPECT_EQ(exit_code, kExitEnvironment);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("standard output: cannot write: No space left"));
  EXPECT_TRUE(fs::exists(folder.path("out/run.json"))) << "the work is not lost";
}

TEST_F(RunStageTest, ALongValueLeavesPlaceAndReasonReadable) {
  EXPECT_EQ(run_throwing(IoError("t.csv:3: '" + std::string(100'000, 'a') + "' is no number")), 3);
  EXPECT_LT(err.size(), 5'000u);
  EXPECT_THAT(err, HasSubstr("t.csv:3: 'aaa"));
  EXPECT_THAT(err, HasSubstr("aaa' is no number"));
}

TEST_F(RunStageTest, AnInterruptedStageKeepsItsFolder) {
  EXPECT_EQ(run_throwing(Interrupted("stopped; go on with --resume")), 130);
  EXPECT_EQ(err, "lowbank sample: stopped; go on with --resume\n");
  EXPECT_TRUE(fs::exists(folder.path("out/started.json")));
}

TEST_F(RunStageTest, WrongArgumentsEndBeforeTheWork) {
  bool worked = false;
  const auto body = [&](RunDir*, Metrics&) { worked = true; };
  EXPECT_EQ(run({"in", "--lerning-rate", "1"}, body), 2);
  EXPECT_THAT(err, HasSubstr("did you mean '--learning-rate'?"));
  EXPECT_EQ(run({folder.path("none.json")}, body), 3);
  EXPECT_EQ(run({"in", folder.file("file", "") + "/out"}, body), 3);
  EXPECT_FALSE(worked);
}

TEST_F(RunStageTest, HelpAndVersionAreNoFailures) {
  const auto body = [](RunDir*, Metrics&) { FAIL(); };
  EXPECT_EQ(run({"--help"}, body), 0);
  EXPECT_THAT(out, StartsWith("Shows every kind of field."));
  EXPECT_EQ(run({"--version"}, body), 0);
  EXPECT_THAT(out, StartsWith("lowbank 0."));
}

}  // namespace
}  // namespace lowbank
