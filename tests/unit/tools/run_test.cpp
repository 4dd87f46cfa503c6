#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/folder_lock.h"
#include "config/make_stage_config.h"
#include "config/stages/convert_config.h"
#include "config/stages/evaluate_config.h"
#include "config/stages/finetune_config.h"
#include "config/stages/generate_config.h"
#include "config/stages/report_config.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/resources.h"
#include "core/text.h"
#include "error_text.h"
#include "temp_folder.h"
#include "tools/run/execute.h"
#include "tools/run/plan.h"
#include "tools/run/run_options.h"
#include "tools/run/state.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::error_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempFolder;

class RecipeTest : public ::testing::Test {
 protected:
  RecipeTest() {
    setenv("LOWBANK_HOME", LOWBANK_SOURCE_DIR, 1);  // the build folder may lie elsewhere
    text = folder.file("text.txt", "text");
    options.out = folder.path("out");
    options.command = "lowbank run r.json";
  }
  // {"name": "r", "stages": [...]} and more top-level keys.
  void set_recipe(const std::string& stages, const std::string& more = "") {
    std::string all = R"({"name": "r", )" + more + R"("stages": [)" + stages + "]}";
    for (std::size_t at; (at = all.find("TEXT")) != std::string::npos;) all.replace(at, 4, text);
    options.recipe = folder.file("r.json", all);
  }
  std::string usage_error(const std::string& stages, const std::string& more = "") {
    set_recipe(stages, more);
    return error_text<ConfigError>([&] { plan_run(options); });
  }
  template <class Config>
  static Config& config_of(RunPlan& plan, std::size_t index) {
    return dynamic_cast<Config&>(*plan.stages.at(index).config);
  }

  TempFolder folder;
  std::string text;
  RunOptions options;
};

const char* const kConvert = R"({"stage": "convert", "src": "TEXT"})";
const char* const kEvaluate =
    R"({"stage": "evaluate", "checkpoint": "@convert", "data": "TEXT", "context": 64})";
const char* const kFinetune =
    R"({"stage": "finetune", "checkpoint": "@convert", "data": {"train": "TEXT"}})";

using PlanTest = RecipeTest;

TEST_F(PlanTest, FilesOfOthersInTheFolderOfStagesAreNotReplaced) {
  fs::create_directories(folder.path("out/stages"));
  for (const auto& [name, content] :
       {std::pair{"convert.json", R"({"mine": 1})"}, std::pair{"convert.txt", "my notes"}}) {
    const std::string file = folder.file(std::string("out/stages/") + name, content);
    EXPECT_THAT(usage_error(kConvert), HasSubstr("is no file of an earlier run")) << name;
    fs::remove(file);
  }
  folder.file("out/stages/convert.json", R"({"stage": "convert", "name": "r"})");
  folder.file("out/stages/convert.txt", "what it printed");
  EXPECT_EQ(usage_error(kConvert), "no error");
  folder.file("out/stages/convert.json", "{damaged");
  EXPECT_EQ(usage_error(kConvert), "no error");
}

TEST_F(PlanTest, TheRecipeIsNotReplaced) {
  fs::create_directories(folder.path("stages"));
  set_recipe(kConvert);
  fs::rename(options.recipe, folder.path("stages/convert.json"));
  options.recipe = folder.path("stages/convert.json");
  options.out = folder.path();
  EXPECT_THAT(error_text<ConfigError>([&] { plan_run(options); }),
              HasSubstr("which the command reads"));
}

TEST_F(PlanTest, StagesGetTheirFoldersAndReferencesBecomePaths) {
  set_recipe(std::string(kConvert) + "," + kEvaluate + R"(,
    {"stage": "report", "runs": ["@evaluate", "@convert/checkpoint"]})");
  RunPlan plan = plan_run(options);
  EXPECT_EQ(plan.name, "r");
  ASSERT_EQ(plan.stages.size(), 3u);
  const std::string out = folder.path("out");
  EXPECT_EQ(config_of<ConvertConfig>(plan, 0).common.out, out + "/convert");
  EXPECT_EQ(config_of<EvaluateConfig>(plan, 1).checkpoint, out + "/convert");
  EXPECT_EQ(config_of<EvaluateConfig>(plan, 1).perplexity.context, 64);
  const auto& report = config_of<ReportConfig>(plan, 2);
  EXPECT_THAT(report.runs, ElementsAre(out + "/evaluate", out + "/convert/checkpoint"));
  EXPECT_EQ(report.page(), out + "/report.html");
  EXPECT_EQ(report.recipe_name, "r");
  EXPECT_FALSE(fs::exists(out)) << "planning writes nothing";

  options.out.clear();
  plan = plan_run(options);
  EXPECT_EQ(config_of<ConvertConfig>(plan, 0).common.out, "runs/r/convert");
}

TEST_F(PlanTest, AReferenceMustBeToAnEarlierStage) {
  EXPECT_THAT(usage_error(std::string(kConvert) + R"(,
    {"stage": "evaluate", "checkpoint": "@convrt", "data": "TEXT"})"),
              HasSubstr("stage 'evaluate': checkpoint: the recipe has no stage 'convrt'; did you "
                        "mean 'convert'?"));
  EXPECT_THAT(usage_error(std::string(kEvaluate) + "," + kConvert),
              HasSubstr("stage 'convert' must stand before the one that reads it"));
  EXPECT_THAT(usage_error(R"({"stage": "convert", "src": "@convert"})"),
              HasSubstr("must stand before"));
}

TEST_F(PlanTest, AnAtSignOutsideOfPathsIsText) {
  set_recipe(std::string(kConvert) +
             R"(, {"stage": "generate", "checkpoint": "@convert", "prompt": "@home"})");
  RunPlan plan = plan_run(options);
  EXPECT_EQ(config_of<GenerateConfig>(plan, 1).prompt, "@home");
}

TEST_F(PlanTest, EveryStageIsCheckedBeforeTheFirstStarts) {
  const std::string first = std::string(kConvert) + ",";
  EXPECT_THAT(usage_error(first + R"({"stage": "finetune", "checkpoint": "@convert",
                "data": {"train": "TEXT"}, "train": {"lerning_rate": 1}})"),
              EndsWith("r.json: stage 'finetune': unknown key 'train.lerning_rate'; did you mean "
                       "'learning_rate'?"));
  EXPECT_THAT(usage_error(first + R"({"stage": "evaluate", "checkpoint": "@convert",
                "data": "TEXT", "context": 1})"),
              HasSubstr("context: wants a whole number, in [2, 1048576] tokens; got 1"));
  EXPECT_THAT(usage_error(first + R"({"stage": "evaluate", "checkpoint": "@convert"})"),
              HasSubstr("stage 'evaluate': data is missing"));
  EXPECT_THAT(usage_error(first + R"({"stage": "evaluate", "data": "TEXT"})"),
              HasSubstr("stage 'evaluate': checkpoint is missing"));
  EXPECT_THAT(usage_error(first + R"({"stage": "estimate", "workload": "TEXT",
                                      "system": ["gpu-a10"]})"),
              HasSubstr("did you mean 'gpu-a100'?"));
  EXPECT_THAT(usage_error(first + R"({"stage": "evalute"})"),
              HasSubstr("stages[1]: unknown stage 'evalute'; did you mean 'evaluate'?"));
  EXPECT_THAT(usage_error(first + R"({"stage": "inspect", "checkpoint": "@convert"})"),
              HasSubstr("'inspect' writes no run folder"));
  EXPECT_THAT(usage_error(first + R"({"as": "x"})"), HasSubstr("stage is missing"));
  EXPECT_THAT(usage_error(first + "3"), HasSubstr("stages[1]: wants an object"));
}

TEST_F(PlanTest, AMissingInputIsAnIoErrorUnlessAnEarlierStageMakesIt) {
  set_recipe(std::string(kConvert) +
             R"(, {"stage": "evaluate", "checkpoint": "@convert", "data": "none.txt"})");
  EXPECT_THAT(error_text<IoError>([&] { plan_run(options); }),
              HasSubstr("stage 'evaluate': data: none.txt: there is no such file or folder"));
  set_recipe(std::string(kConvert) + R"(, {"stage": "evaluate", "data": "TEXT", "checkpoint": ")" +
             folder.path("out/convert/checkpoint") + R"("})");
  EXPECT_NO_THROW(plan_run(options));
  set_recipe(std::string(kConvert) + R"(, {"stage": "evaluate", "data": "TEXT", "checkpoint": ")" +
             folder.path("out/convert_2") + R"("})");
  EXPECT_THROW(plan_run(options), IoError);
}

TEST_F(PlanTest, TwoStagesMustNotShareANameOrAFolder) {
  const std::string first = std::string(kConvert) + ",";
  EXPECT_THAT(usage_error(first + kConvert), HasSubstr("there is a stage 'convert' already"));
  EXPECT_THAT(usage_error(first + R"({"stage": "convert", "as": "c2", "src": "TEXT", "out": ")" +
                          folder.path("out/x/../convert") + R"("})"),
              HasSubstr("is where stage 'convert' writes"));
  EXPECT_THAT(usage_error(R"({"stage": "convert", "as": "../x", "src": "TEXT"})"),
              HasSubstr("names a folder"));
  EXPECT_THAT(usage_error(R"({"stage": "convert", "as": "stages", "src": "TEXT"})"),
              HasSubstr("is taken"));
}

TEST_F(PlanTest, AnOutputFolderMustBeWritableAndOurs) {
  fs::create_directories(folder.path("out/convert"));
  folder.file("out/convert/precious", "x");
  EXPECT_THAT(usage_error(kConvert), HasSubstr("stage 'convert': "));
  options.out = text + "/below-a-file";
  EXPECT_THAT(error_text<IoError>([&] { plan_run(options); }), HasSubstr("is not a folder"));
}

TEST_F(PlanTest, TheHeadOfARecipeIsCheckedToo) {
  EXPECT_THAT(usage_error(kConvert, R"("sed": 3, )"),
              HasSubstr("unknown key 'sed'; did you mean 'seed'?"));
  EXPECT_THAT(usage_error(kConvert, R"("seed": -3, )"), HasSubstr("seed: wants a whole number"));
  EXPECT_THAT(usage_error(""), HasSubstr("stages wants a list of at least one stage"));
  const auto head_error = [&](const std::string& recipe) {
    options.recipe = folder.file("h.json", recipe);
    return error_text<ConfigError>([&] { plan_run(options); });
  };
  EXPECT_THAT(head_error("[]"), HasSubstr("a recipe is a JSON object"));
  EXPECT_THAT(head_error("{}"), HasSubstr("stages is missing"));
  EXPECT_THAT(head_error(R"({"name": "a/b", "stages": [{"stage": "convert"}]})"),
              HasSubstr("name: wants letters"));
  EXPECT_THAT(head_error(R"({"stage": "evaluate"})"),
              HasSubstr("holds one stage; start it with `lowbank evaluate"));
}

TEST_F(PlanTest, InputsAreFoundNextToTheRecipeUnlessAStageMakesThem) {
  set_recipe(R"({"stage": "convert", "src": "text.txt"},
                {"stage": "evaluate", "checkpoint": "@convert", "data": "text.txt"})");
  RunPlan plan = plan_run(options);
  EXPECT_EQ(config_of<ConvertConfig>(plan, 0).src, text);
  EXPECT_EQ(config_of<EvaluateConfig>(plan, 1).perplexity.data, text);
}

TEST_F(PlanTest, ASettingReachesOneStageOrEveryStageThatHasTheKey) {
  set_recipe(std::string(kConvert) + "," + kFinetune + "," + kEvaluate);
  options.settings = {
      {"finetune.train.steps", "50"}, {"*.context", "32"}, {"*.data.context", "16"}};
  RunPlan plan = plan_run(options);
  EXPECT_EQ(config_of<FinetuneConfig>(plan, 1).train.steps, 50);
  EXPECT_EQ(config_of<FinetuneConfig>(plan, 1).data.context, 16);
  EXPECT_EQ(config_of<EvaluateConfig>(plan, 2).perplexity.context, 32);

  const auto setting_error = [&](const std::string& key, const std::string& value) {
    options.settings = {{key, value}};
    return error_text<ConfigError>([&] { plan_run(options); });
  };
  EXPECT_THAT(setting_error("fintune.train.steps", "5"), HasSubstr("did you mean 'finetune'?"));
  EXPECT_THAT(setting_error("finetune.train.stps", "5"),
              HasSubstr("--set finetune.train.stps: unknown key 'train.stps'; did you mean"));
  EXPECT_THAT(setting_error("finetune.train.steps", "-5"), HasSubstr("got -5"));
  EXPECT_THAT(setting_error("*.no_such_key", "5"),
              HasSubstr("no stage of the recipe has this key"));
  EXPECT_THAT(setting_error("seed", "5"), HasSubstr("wants <stage>.<key>=value"));
}

TEST_F(PlanTest, CommonKeysComeFromTheCommandLineThenTheRecipeButAStagesOwnStays) {
  set_recipe(std::string(kConvert) + R"(, {"stage": "evaluate", "checkpoint": "@convert",
                                          "data": "TEXT", "seed": 7})",
             R"("seed": 3, "threads": 2, )");
  RunPlan plan = plan_run(options);
  EXPECT_EQ(plan.stages[0].config->common.seed, 3);
  EXPECT_EQ(plan.stages[1].config->common.seed, 7);
  EXPECT_EQ(plan.stages[1].config->common.threads, 2);
  options.common = {{"seed", "4"}, {"threads", "1"}};
  plan = plan_run(options);
  EXPECT_EQ(plan.stages[0].config->common.seed, 4);
  EXPECT_EQ(plan.stages[1].config->common.seed, 7);
  EXPECT_EQ(plan.stages[1].config->common.threads, 1);
}

TEST(RunOptionsTest, WordsBecomeOptions) {
  const std::vector<std::string> words = {"r.json", "--set", "a.b=c=d", "--seed=3", "--threads",
                                          "2",      "--out", "dir/",    "--quiet",  "--json"};
  const RunOptions options = *parse_run_options(words);
  EXPECT_EQ(options.recipe, "r.json");
  EXPECT_THAT(options.settings, ElementsAre(std::pair<std::string, std::string>("a.b", "c=d")));
  EXPECT_EQ(options.common, (RunOptions::Pairs{{"seed", "3"}, {"threads", "2"}}));
  EXPECT_EQ(options.out, "dir");
  EXPECT_TRUE(options.quiet);
  EXPECT_TRUE(options.json);
}

TEST(RunOptionsTest, TheCommandIsRepeatedAsAShellReadsIt) {
  const std::vector<std::string> words = {"my recipe.json", "--set", "*.a=it's"};
  EXPECT_EQ(parse_run_options(words)->command,
            R"(lowbank run 'my recipe.json' --set '*.a=it'\''s')");
}

TEST(RunOptionsTest, WrongWordsAreNamed) {
  const auto words_error = [](std::vector<std::string> words) {
    return error_text<ConfigError>([&] { parse_run_options(words); });
  };
  EXPECT_THAT(words_error({}), HasSubstr("recipe is missing"));
  EXPECT_THAT(words_error({"a", "b"}), HasSubstr("unexpected argument 'b'"));
  EXPECT_THAT(words_error({"a", "--sed", "3"}), HasSubstr("did you mean"));
  EXPECT_THAT(words_error({"a", "--seed"}), HasSubstr("--seed wants a value"));
  EXPECT_THAT(words_error({"a", "--set", "b"}), HasSubstr("--set wants <stage>.<key>=value"));
}

class RunRecipeTest : public RecipeTest {
 protected:
  RunRecipeTest() {
    fs::create_directory(folder.path("bin"));
    for (const auto& stage : stage_names()) {
      fs::create_symlink(executable_folder() + "/fake_stage", folder.path("bin/lowbank-" + stage));
    }
    options.json = true;
    set_recipe(std::string(kConvert) + "," + kFinetune + "," + kEvaluate + R"(,
      {"stage": "evaluate", "as": "evaluate_tuned", "checkpoint": "@finetune", "data": "TEXT"},
      {"stage": "report", "runs": ["@evaluate", "@evaluate_tuned"]})");
  }
  // The stages that were started, "finetune resumed" for one that went on.
  std::vector<std::string> run(int expected_exit_code = 0) {
    std::error_code error;
    fs::remove(folder.path("bin/starts"), error);
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    stopped.clear();
    int exit_code = -1;
    try {
      exit_code = run_recipe(options, folder.path("bin"));
    } catch (const Interrupted& e) {
      exit_code = e.exit_code();
      stopped = e.what();
    }
    out = ::testing::internal::GetCapturedStdout();
    err = ::testing::internal::GetCapturedStderr();
    configure_log({});
    EXPECT_EQ(exit_code, expected_exit_code) << err;
    if (!fs::exists(folder.path("bin/starts"))) return {};
    std::vector<std::string> starts;
    const std::string lines = read_bytes(folder.path("bin/starts"));
    for (const auto line : split_lines(lines)) starts.emplace_back(line);
    return starts;
  }
  void behave(const std::string& what) { folder.file("bin/behaviour", what); }
  std::string out;
  std::string err;
  std::string stopped;
};

TEST_F(RunRecipeTest, RunsEveryStageInOrderAndTellsTheSummary) {
  EXPECT_THAT(run(), ElementsAre("convert", "finetune", "evaluate", "evaluate_tuned", "report"));
  const Json result = parse_json(out, "out");
  ASSERT_EQ(result["stages"].size(), 5u);
  EXPECT_EQ(result["stages"][3]["id"], "evaluate_tuned");
  EXPECT_EQ(result["stages"][3]["skipped"], false);
  EXPECT_GT(result["stages"][3]["seconds"], 0.0);
  EXPECT_EQ(result["report"], folder.path("out/report.html"));
  EXPECT_THAT(err, HasSubstr("[1/5] convert ......"));
  EXPECT_THAT(err, HasSubstr("the fake summary"));
  EXPECT_THAT(err, HasSubstr("5 of 5 stages run"));
  EXPECT_EQ(read_text(folder.path("out/stages/convert.txt")), "printed by convert\n");
  EXPECT_EQ(read_json(folder.path("out/convert/resolved.json"))["name"], "r");
}

TEST_F(RunRecipeTest, ASecondRunSkipsEverythingAndTellsTheSummaryAgain) {
  run();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(run(), IsEmpty());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  const Json result = parse_json(out, "out");
  for (const auto& stage : result["stages"]) EXPECT_EQ(stage["skipped"], true);
  EXPECT_THAT(err, HasSubstr("skipped (unchanged)"));
  EXPECT_THAT(err, HasSubstr("the fake summary"));
}

TEST_F(RunRecipeTest, AChangedSettingRunsItsStageAndWhatDependsOnIt) {
  run();
  options.settings = {{"finetune.train.steps", "50"}};
  EXPECT_THAT(run(), ElementsAre("finetune", "evaluate_tuned", "report"));
  options.common = {{"threads", "2"}};
  EXPECT_THAT(run(), IsEmpty()) << "threads have no effect on results";
}

TEST_F(RunRecipeTest, AChangedInputRunsWhatReadsIt) {
  run();
  folder.file("text.txt", "another text");
  EXPECT_THAT(run(), ElementsAre("convert", "finetune", "evaluate", "evaluate_tuned", "report"));
}

TEST_F(RunRecipeTest, ALostOrDamagedOutputIsMadeAgain) {
  run();
  fs::remove(folder.path("out/evaluate/result.txt"));
  EXPECT_THAT(run(), ElementsAre("evaluate")) << "the same result again changes nothing later";
  for (const char* name : {"result.txt", "metrics.json", "resolved.json"}) {
    const std::string path = "out/evaluate/" + std::string(name);
    std::string bytes = read_bytes(folder.path(path));
    bytes[bytes.size() / 2] ^= 1;
    folder.file(path, bytes);
    EXPECT_THAT(run(), ElementsAre("evaluate")) << name << " with another bit";
  }
  fs::remove(folder.path("out/report.html"));
  EXPECT_THAT(run(), ElementsAre("report"));
  folder.file("out/report.html", "cut");
  EXPECT_THAT(run(), ElementsAre("report"));
  folder.file("out/evaluate/run.json", "{ damaged");
  EXPECT_THAT(run(), ElementsAre("evaluate"));
}

TEST_F(RunRecipeTest, WhatAKilledReportLeftBesideItsPageGoes) {
  run();
  fs::remove(folder.path("out/report/run.json"));
  const int dead_process = 1 << 30;  // above the largest process number of Linux
  const std::string left = "out/report.html." + std::to_string(dead_process) + ".tmp";
  folder.file(left, "half a page");
  EXPECT_THAT(run(), ElementsAre("report"));
  EXPECT_FALSE(fs::exists(folder.path(left)));
}

TEST_F(RunRecipeTest, ADamagedRecordIsNoRecord) {
  run();
  for (const char* record :
       {"[]", "7", "null", "{}", R"({"fingerprint": 7, "outputs": 7})",
        R"({"fingerprint": {"inputs": [1], "settings": {}}, "outputs": {"a": "b"}})",
        R"({"fingerprint": {"inputs": {"x": 1}}, "outputs": {"../x": 1}})"}) {
    folder.file("out/evaluate/run.json", record);
    EXPECT_THAT(run(), ElementsAre("evaluate")) << record;
  }
  for (const char* key : {"seconds", "provenance", "device", "hash"}) {
    Json record = read_json(folder.path("out/evaluate/run.json"));
    record[key] = key == std::string("seconds") ? Json(1.25) : Json("other");
    folder.file("out/evaluate/run.json", dump_json(record));
    EXPECT_THAT(run(), ElementsAre("evaluate")) << key;
  }
  fs::remove(folder.path("out/evaluate/run.json"));
  folder.file("out/evaluate/started.json", "[1]");
  EXPECT_THAT(run(), ElementsAre("evaluate"));
}

TEST_F(RunRecipeTest, AFailedStageStopsTheRunWithItsExitCode) {
  behave("evaluate fail");
  EXPECT_THAT(run(3), ElementsAre("convert", "finetune", "evaluate"));
  EXPECT_THAT(err, HasSubstr("lowbank run: stage 'evaluate' failed"));
  EXPECT_FALSE(fs::exists(folder.path("out/evaluate")));
  behave("");
  EXPECT_THAT(run(), ElementsAre("evaluate", "evaluate_tuned", "report"));
}

TEST_F(RunRecipeTest, AStageThatIsKilledIsNamedWithTheSignal) {
  behave("evaluate crash");
  run(3);
  EXPECT_THAT(err, HasSubstr("stage 'evaluate' was ended by signal 9"));
}

TEST_F(RunRecipeTest, AnInterruptedStageIsResumedByTheNextRun) {
  for (const std::string signal : {"interrupt", "terminate"}) {
    options.out = folder.path(signal);
    behave("finetune " + signal);
    EXPECT_THAT(run(130), ElementsAre("convert", "finetune"));
    EXPECT_EQ(stopped, "stopped in stage 'finetune'; go on with: lowbank run r.json");
    behave("");
    EXPECT_THAT(run(), ElementsAre("finetune resumed", "evaluate", "evaluate_tuned", "report"));
  }
}

TEST_F(RunRecipeTest, AnInterruptedStageStartsAfreshWhenItsSettingsChanged) {
  behave("finetune interrupt");
  run(130);
  behave("");
  options.settings = {{"finetune.train.steps", "50"}};
  EXPECT_THAT(run(), ElementsAre("finetune", "evaluate", "evaluate_tuned", "report"));
}

TEST_F(RunRecipeTest, AnInterruptedStageThatCannotResumeStartsAfresh) {
  behave("evaluate interrupt");
  run(130);
  behave("");
  EXPECT_THAT(run(), ElementsAre("evaluate", "evaluate_tuned", "report"));
}

TEST_F(RunRecipeTest, AStageWhoseSavedStateIsDamagedStartsAnew) {
  behave("finetune interrupt");
  run(130);
  behave("finetune damaged");
  EXPECT_THAT(run(),
              ElementsAre("finetune resumed", "finetune", "evaluate", "evaluate_tuned", "report"));
}

TEST_F(RunRecipeTest, TwoRunsCannotShareAFolder) {
  fs::create_directory(folder.path("out"));
  const FolderLock lock(folder.path("out"), "lowbank run", std::chrono::seconds(0));
  EXPECT_THAT(error_text<IoError>([&] { run_recipe(options, folder.path("bin")); }),
              HasSubstr("out: in use by lowbank run"));
  configure_log({});
  EXPECT_FALSE(fs::exists(folder.path("bin/starts")));
}

TEST_F(RunRecipeTest, WhatAStageThatWasKilledAtItsEndLeftIsRemoved) {
  run();
  std::ofstream(folder.path("out/finetune/.lock")) << "lowbank finetune";
  EXPECT_THAT(run(), IsEmpty());
  EXPECT_FALSE(fs::exists(folder.path("out/finetune/.lock")));
  folder.file("out/finetune/started.json", "{}");
  EXPECT_THAT(run(), IsEmpty());
  EXPECT_FALSE(fs::exists(folder.path("out/finetune/started.json")));
}

TEST_F(RunRecipeTest, WhatAKilledFrontWasWritingIsRemoved) {
  const std::string left = folder.path("out/stages/convert.json.2000000000.tmp");
  fs::create_directories(folder.path("out/stages"));
  std::ofstream(left) << "{";
  run();
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(RunRecipeTest, AStageEndsWithItsFrontHoweverThatEnds) {
  for (const int signal : {SIGKILL, SIGHUP, SIGTERM}) {
    options.out = folder.path("out" + std::to_string(signal));
    behave("convert wait");
    const pid_t front = fork();
    if (front == 0) {
      std::freopen("/dev/null", "w", stderr);
      try {
        run_recipe(options, folder.path("bin"));
      } catch (const Error&) {
      }
      _exit(0);
    }
    const auto wait_for = [&](const std::string& name) {
      for (int i = 0; i < 1000 && !fs::exists(folder.path(name)); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      return fs::remove(folder.path(name));
    };
    EXPECT_TRUE(wait_for("bin/waiting"));
    kill(front, signal);
    waitpid(front, nullptr, 0);
    EXPECT_TRUE(wait_for("bin/ended")) << "signal " << signal;
  }
}

TEST_F(RunRecipeTest, AnErrorInTheRecipeStartsNothing) {
  options.settings = {{"*.context", "1"}};
  EXPECT_THROW(run_recipe(options, folder.path("bin")), ConfigError);
  EXPECT_FALSE(fs::exists(folder.path("out")));
  options.settings.clear();
  fs::remove(folder.path("bin/lowbank-report"));
  EXPECT_THROW(run_recipe(options, folder.path("bin")), IoError);
  EXPECT_FALSE(fs::exists(folder.path("bin/starts")));
}

}  // namespace
}  // namespace lowbank
