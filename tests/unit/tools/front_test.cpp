// Runs the real front command.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/make_stage_config.h"
#include "core/text.h"
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
  EXPECT_EQ(run_command("lowbank", {"--", "inspect", "--help"}).out, direct.out);
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

// Runs a line of the shell in which LOWBANK is the front command; the command's own streams, where
// the line does not say otherwise, are files of `folder`.
int shell(const testing::TempFolder& folder, std::string line) {
  for (std::size_t at; (at = line.find("LOWBANK")) != std::string::npos;) {
    line.replace(at, 7, LOWBANK_BIN_DIR "/lowbank");
  }
  const int status = std::system(
      ("{ " + line + "; } >'" + folder.path("out") + "' 2>'" + folder.path("err") + "'").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(FrontTest, AResultThatNobodyCanReadIsAnError) {
  const testing::TempFolder folder;
  for (const std::string command :
       {"LOWBANK --help", "LOWBANK --version", "LOWBANK run --help", "LOWBANK inspect --help",
        "LOWBANK-inspect --version",
        "LOWBANK inspect '" LOWBANK_SOURCE_DIR "/data/samples/tiny_bert/model.safetensors'"}) {
    EXPECT_EQ(shell(folder, command + " >&-"), 3) << command;
    EXPECT_THAT(read_text(folder.path("err")), HasSubstr("standard output: cannot write: it is "
                                                         "closed"));
    EXPECT_EQ(shell(folder, command + " >/dev/full"), 3) << command;
    EXPECT_THAT(read_text(folder.path("err")),
                HasSubstr("standard output: cannot write: No space"));
    EXPECT_EQ(shell(folder, command + " <&- 2>&-"), 0) << command;
    EXPECT_EQ(shell(folder, "{ " + command + "; echo $? >'" + folder.path("rc") + "'; } | true"),
              0);
    EXPECT_EQ(read_text(folder.path("rc")), "0\n") << command << " into a closed pipe";
  }
}

TEST(FrontTest, AClosedStreamIsNoPlaceForTheFilesOfACommand) {
  setenv("LOWBANK_HOME", LOWBANK_SOURCE_DIR, 1);
  const testing::TempFolder folder;
  const std::string words = "estimate --workload '" LOWBANK_SOURCE_DIR
                            "/configs/workloads/bert-large.json' --system gpu-a100 --out '" +
                            folder.path("run") + "'";
  for (const std::string closed : {">&-", ">&- 2>&-", ">&- 2>&- <&-"}) {
    EXPECT_EQ(shell(folder, "LOWBANK " + words + " " + closed), 3) << closed;
    EXPECT_THAT(read_text(folder.path("run/log.txt")), ::testing::Not(HasSubstr("Modelled")))
        << "the result is not in the log";
    EXPECT_THAT(read_text(folder.path("run/run.json")), HasSubstr("estimate.csv"))
        << "the files are complete";
  }
}

TEST(FrontTest, AFileSizeLimitDoesNotEndARun) {
  setenv("LOWBANK_HOME", LOWBANK_SOURCE_DIR, 1);
  const testing::TempFolder folder;
  folder.file("r.json",
              R"({"name": "r", "stages": [{"stage": "estimate", "workload": [")" LOWBANK_SOURCE_DIR
              R"(/configs/workloads/bert-large.json"], "system": ["gpu-a100"]}]})");
  // In blocks of 512 bytes; the shell's own files are opened before.
  for (const char* limit : {"0", "1"}) {
    EXPECT_EQ(shell(folder, "ulimit -f " + std::string(limit) + "; LOWBANK run '" +
                                folder.path("r.json") + "' --out '" + folder.path("runs") + "'"),
              3)
        << limit;
    EXPECT_FALSE(std::filesystem::exists(folder.path("runs/estimate/run.json"))) << limit;
  }
}

TEST(FrontTest, AClosedStandardInputIsNoEmptyFile) {
  const testing::TempFolder folder;
  const std::string words =
      "tokenize '" LOWBANK_SOURCE_DIR "/data/samples/stories260K/tok512.model' --file ";
  for (const std::string file : {"-", "/dev/stdin"}) {
    EXPECT_EQ(shell(folder, "LOWBANK " + words + file + " <&-"), 3) << file;
    EXPECT_THAT(read_text(folder.path("err")), HasSubstr("standard input: cannot read"));
    EXPECT_EQ(shell(folder, "LOWBANK " + words + file + " </dev/null"), 0) << file;
  }
  EXPECT_EQ(
      shell(folder, "echo '{\"text\": \"a\"}' | LOWBANK " + words + "- --out /dev/stdout >&-"), 3);
}

TEST(FrontTest, WhatShipsIsFoundFromAnyFolder) {
  setenv("LOWBANK_HOME", LOWBANK_SOURCE_DIR, 1);
  const testing::TempFolder folder;
  const std::string in_folder = "cd '" + folder.path() + "' && LOWBANK ";
  for (const std::string command :
       {"inspect data/samples/tiny_bert", "inspect data/samples/tiny_bert/model.safetensors",
        "estimate --workload configs/workloads/bert-large.json --system gpu-a100",
        "estimate --workload configs/workloads/bert-large.json "
        "configs/workloads/bert-large-svd.json "
        "--system configs/pim/rram-hyflexpim.json",
        "estimate --experiments configs/pim/figures.jsonl"}) {
    EXPECT_EQ(shell(folder, in_folder + command), 0) << command << read_text(folder.path("err"));
  }
}

TEST(FrontTest, NamesFromFilesAreShownAndNotObeyed) {
  const testing::TempFolder folder;
  const std::string clear = "\x1b[2J", csi =
                                           "\xC2\x9B"
                                           "31m";
  const auto has_control = [](const std::string& text) {
    return std::any_of(text.begin(), text.end(), [](unsigned char c) {
      return (c < 0x20 && c != '\n') || c == 0x7F || c == 0x9B;
    });
  };
  const std::string header = R"({"a\u009b31m\u202eb.weight": {"dtype": "F32", "shape": [1, 1], )"
                             R"("data_offsets": [0, 4]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header + std::string(4, '\0');
  const std::string path = folder.file("x" + clear + csi + ".safetensors", file);
  auto result = run_command("lowbank-inspect", {path});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(has_control(result.out)) << result.out;
  EXPECT_THAT(result.out, HasSubstr("x\\x1b[2J\\u009b31m.safetensors"));
  EXPECT_THAT(result.out, HasSubstr("a\\u009b31m\\u202eb.weight  F32 "));
  result = run_command("lowbank-inspect", {path, "--json"});
  EXPECT_FALSE(has_control(result.out + result.err)) << result.out;
  EXPECT_EQ(nlohmann::json::parse(result.out)["linears"][0]["path"],
            "a\xC2\x9B"
            "31m\xE2\x80\xAE"
            "b");
  result = run_command("lowbank-inspect", {folder.path("none\n" + clear + csi + "\xFF")});
  EXPECT_EQ(result.exit_code, 2) << "not UTF-8";
  EXPECT_FALSE(has_control(result.err)) << result.err;
  result = run_command("lowbank-inspect", {folder.path("none\n" + clear + csi)});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(has_control(result.err)) << result.err;
  EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << "one line";
  EXPECT_THAT(result.err, HasSubstr("none\\n\\x1b[2J\\u009b31m: "));
  result = run_command("lowbank", {"x" + clear + "\ny"});
  EXPECT_EQ(result.err, "lowbank: unknown command 'x\\x1b[2J\\ny' (see lowbank --help)\n");
}

TEST(FrontTest, AbsurdNumbersEndAtOnce) {
  const testing::TempFolder folder;
  const std::string workload = LOWBANK_SOURCE_DIR "/configs/workloads/bert-large.json";
  const std::string big = "4611686018427387904";
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"--threads", "1000"},
           {"--batch", big},
           {"--context", big},
           {"--output-tokens", big},
           {"--num-gpus", big},
           {"--num-chips", "1000000000"},
           {"--batch", "1000000000000", "--context", "1000000000000"}}) {
    std::vector<std::string> all = {"estimate", "--workload", workload,          "--system",
                                    "gpu-a100", "--out",      folder.path("run")};
    all.insert(all.end(), words.begin(), words.end());
    const auto start = std::chrono::steady_clock::now();
    const auto result = run_command("lowbank", all);
    if (words[1] == "1000" && result.exit_code == 0) continue;  // a machine of 250 processors
    EXPECT_EQ(result.exit_code, 2) << words[0] << result.err;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << words[0];
  }
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

TEST(FrontTest, AnEstimateEndsWhenItIsToldTo) {
  const testing::TempFolder folder;
  std::string lines;
  for (int i = 0; i < 500; ++i) {  // minutes of work
    lines +=
        R"({"model": "opt-70b", "batch_size": 1, "system": "GPU", "gpu": "A100", "num_gpus": 1,)"
        R"( "input_tokens": 1024, "output_tokens": 1048576})"
        "\n";
  }
  const std::string out = folder.path("out.jsonl");
  const std::string command = "timeout --preserve-status -s TERM -k 30 0.5 " LOWBANK_BIN_DIR
                              "/lowbank-estimate " +
                              std::string("--experiments ") + folder.file("in.jsonl", lines) +
                              " --out " + out + " 2>/dev/null >&2";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 130);
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace lowbank
