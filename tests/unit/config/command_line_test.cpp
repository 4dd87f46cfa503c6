#include "config/command_line.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/threads.h"
#include "error_text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::SampleConfig;
using testing::TempFolder;

class CommandLineTest : public ::testing::Test {
 protected:
  ParseOutcome parse(const std::vector<std::string>& words) {
    config = SampleConfig();
    return parse_command_line(words, config);
  }
  std::string parse_error(const std::vector<std::string>& words) {
    return error_text<ConfigError>([&] { parse(words); });
  }
  SampleConfig config;
  TempFolder folder;
};

TEST_F(CommandLineTest, WordsFillThePositionsAndFlagsTheKeys) {
  EXPECT_EQ(parse({"in.txt", "--learning-rate", "0.25", "dir", "--greedy", "--steps=3"}),
            ParseOutcome::kRun);
  EXPECT_EQ(config.input, "in.txt");
  EXPECT_EQ(config.common.out, "dir");
  EXPECT_EQ(config.learning_rate, 0.25);
  EXPECT_EQ(config.steps, 3);
  EXPECT_TRUE(config.greedy);
  EXPECT_EQ(config.recipe_name, "default");
}

TEST_F(CommandLineTest, AFlagForManyTakesEveryWordUpToTheNextFlag) {
  parse({"in", "--files", "a,1", "b", "--names", "x,y", "--steps", "3"});
  EXPECT_THAT(config.files, ElementsAre("a,1", "b"));
  EXPECT_THAT(config.names, ElementsAre("x", "y"));
  parse({"in", "--files", "a,1"});
  EXPECT_THAT(config.files, ElementsAre("a,1")) << "a path may hold a comma";
  EXPECT_EQ(parse_error({"in", "--files", "--steps", "3"}), "--files wants at least one value");
}

TEST_F(CommandLineTest, FlagsAndSetComeBeforeTheRecipeAndALaterWordWins) {
  const std::string recipe =
      folder.file("tiny.json", R"({"name": "n", "input": "r", "steps": 5, "seed": 9, // comment
                                   "noise": {"sigma": 0.2}})");
  parse({recipe});
  EXPECT_EQ(config.input, "r");
  EXPECT_EQ(config.steps, 5);
  EXPECT_EQ(config.recipe_name, "n");
  parse({recipe, "cli", "--steps", "6", "--set", "steps=7", "--set", "noise.sigma=0.3"});
  EXPECT_EQ(config.input, "cli");
  EXPECT_EQ(config.steps, 7);
  EXPECT_EQ(config.sigma, 0.3);
  EXPECT_EQ(config.common.seed, 9);
  parse({"--set", "steps=7", "--steps", "6", recipe});
  EXPECT_EQ(config.steps, 6);
}

TEST_F(CommandLineTest, TheRecipesFileNameIsItsNameUnlessItHasOne) {
  parse({folder.file("small.json", R"({"input": "r"})")});
  EXPECT_EQ(config.recipe_name, "small");
}

TEST_F(CommandLineTest, TheNameOfARecipeIsThatOfOneFolder) {
  for (const std::string name :
       {"..", "../x", "a/b", "/tmp", ".", ".hidden", "", "a\\nb", "a\\u009b"}) {
    const std::string recipe = folder.file("r.json", R"({"input": "r", "name": ")" + name + "\"}");
    EXPECT_THAT(parse_error({recipe}), HasSubstr("r.json: name: wants letters")) << name;
  }
  EXPECT_THAT(parse_error({folder.file(
                  "long.json", R"({"input": "r", "name": ")" + std::string(101, 'x') + "\"}")}),
              HasSubstr("name: wants letters"));
  for (const std::string file : {"...json", ".json", "..json"}) {
    EXPECT_THAT(parse_error({folder.file(file, R"({"input": "r"})")}),
                HasSubstr("name: wants letters"))
        << file;
  }
  parse({folder.file("gr\xC3\xBC\xC3\x9F e.json", R"({"input": "r"})")});
  EXPECT_EQ(config.recipe_name, "gr\xC3\xBC\xC3\x9F e");
}

TEST_F(CommandLineTest, PathsAreFoundNextToTheRecipeAndInLowbanksFolder) {
  folder.file("in.txt", "");
  folder.file("noise.json", R"({"sigma": 0.75})");
  std::filesystem::create_directories(folder.path("home/configs"));
  folder.file("home/configs/a.txt", "");
  folder.file("home/configs/r.json", R"({"input": "configs/a.txt"})");
  setenv("LOWBANK_HOME", folder.path("home").c_str(), 1);
  parse({folder.file("r.json",
                     R"({"input": "in.txt", "noise": "noise.json", "files": ["configs/a.txt"]})")});
  EXPECT_EQ(config.input, folder.path("in.txt"));
  EXPECT_EQ(config.sigma, 0.75);
  EXPECT_THAT(config.files, ElementsAre(folder.path("home/configs/a.txt")));
  parse({"configs/a.txt", "--files", "configs/a.txt", "configs/none.txt"});
  EXPECT_EQ(config.input, folder.path("home/configs/a.txt"));
  EXPECT_THAT(config.files, ElementsAre(folder.path("home/configs/a.txt"), "configs/none.txt"));
  parse({"configs/r.json"});
  EXPECT_EQ(config.input, folder.path("home/configs/a.txt")) << "a recipe that ships";
  unsetenv("LOWBANK_HOME");
}

TEST_F(CommandLineTest, AFailedCheckNamesTheRecipeUnlessTheValueWasTyped) {
  const std::string recipe = folder.file("r.json", R"({"device": "gpu"})");
  EXPECT_EQ(parse_error({recipe}), recipe + ": input is missing: what is read");
  EXPECT_EQ(parse_error({recipe, "in"}), recipe + ": device: wants cpu, cuda or cuda:i; got 'gpu'");
  EXPECT_EQ(parse_error({recipe, "in", "--device", "tpu"}),
            "device: wants cpu, cuda or cuda:i; got 'tpu'");
}

TEST_F(CommandLineTest, TheNumberOfThreadsIsBoundByTheMachine) {
  EXPECT_EQ(parse_error({"in", "--threads", std::to_string(max_threads())}), "no error");
  if (max_threads() < 1024) {
    EXPECT_THAT(parse_error({"in", "--threads", std::to_string(max_threads() + 1)}),
                ::testing::StartsWith("threads: wants at most"));
  }
  EXPECT_THAT(parse_error({"in", "--threads", "100000"}), HasSubstr("in [0, 1024]; got 100000"));
}

TEST_F(CommandLineTest, AnUnknownOptionIsNamedWithASuggestion) {
  EXPECT_EQ(parse_error({"in", "--lerning-rate", "1"}),
            "unknown option '--lerning-rate'; did you mean '--learning-rate'? (see lowbank sample "
            "--help)");
  EXPECT_THAT(parse_error({"in", "-x"}), HasSubstr("unknown option '-x'"));
  EXPECT_THAT(parse_error({"in", "--noise.sigma", "1"}), HasSubstr("unknown option"));
}

TEST_F(CommandLineTest, AMissingValueIsNamed) {
  EXPECT_EQ(parse_error({"in", "--steps"}), "--steps wants a value");
  EXPECT_EQ(parse_error({"in", "--steps", "--greedy"}), "--steps wants a value");
  EXPECT_EQ(parse_error({"in", "--set"}), "--set wants a value");
  EXPECT_EQ(parse_error({"in", "--set", "steps"}), "--set wants key=value; got 'steps'");
}

TEST_F(CommandLineTest, AValueMayBeginWithADashOrHoldAnEqualsSign) {
  EXPECT_THAT(parse_error({"in", "--steps", "-1"}), HasSubstr("in [1, 100] steps; got -1"));
  parse({"--input=--greedy"});
  EXPECT_EQ(config.input, "--greedy");
  parse({"--set", "input=a=b"});
  EXPECT_EQ(config.input, "a=b");
  parse({"-"});
  EXPECT_EQ(config.input, "-");
}

TEST_F(CommandLineTest, WhatFollowsTwoDashesIsNoFlag) {
  parse({"--steps", "3", "--", "--greedy", "--"});
  EXPECT_EQ(config.input, "--greedy");
  EXPECT_EQ(config.common.out, "--");
  EXPECT_FALSE(config.greedy);
  parse({"--names", "a", "--", "in"});
  EXPECT_THAT(config.names, ElementsAre("a")) << "it also ends a flag that takes many words";
  EXPECT_EQ(config.input, "in");
  EXPECT_EQ(parse_error({"in", "--method", "--", "svd"}), "--method wants a value");
}

TEST_F(CommandLineTest, ANegativeNumberIsAValueAndNoFlag) {
  parse({"in", "--offset", "-1.5", "--set", "noise.sigma=0.2"});
  EXPECT_EQ(config.offset, -1.5);
  parse({"in", "--set", "offset=-2"});
  EXPECT_EQ(config.offset, -2);
  parse({"in", "--offset=-3e2"});
  EXPECT_EQ(config.offset, -300);
  parse({"in", "--shifts", "-1", "2", "-.5", "--steps", "3"});
  EXPECT_THAT(config.shifts, ElementsAre(-1.0, 2.0, -0.5));
  EXPECT_EQ(config.steps, 3);
  EXPECT_THAT(parse_error({"-1"}), HasSubstr("unknown option '-1'"));
}

TEST_F(CommandLineTest, AFlagIsWrittenOutInFull) {
  EXPECT_THAT(parse_error({"in", "--learning", "0.1"}), HasSubstr("unknown option '--learning'"));
  EXPECT_THAT(parse_error({"in", "-greedy"}), HasSubstr("did you mean '--greedy'?"));
  EXPECT_THAT(parse_error({"in", "-hx"}), HasSubstr("unknown option '-hx'"));
  parse({"in", "--learning_rate", "0.25"});
  EXPECT_EQ(config.learning_rate, 0.25) << "a key's own spelling is a flag as well";
}

TEST_F(CommandLineTest, ASwitchNeedsNoValueAndTakesOneAfterAnEqualsSign) {
  parse({"--greedy", "in"});
  EXPECT_TRUE(config.greedy);
  EXPECT_EQ(config.input, "in");
  parse({"in", "--greedy", "--greedy=false"});
  EXPECT_FALSE(config.greedy);
  EXPECT_THAT(parse_error({"in", "--greedy=maybe"}), HasSubstr("wants true or false; got 'maybe'"));
}

TEST_F(CommandLineTest, AValueOfAnyLengthAndWithLineBreaksIsKept) {
  const std::string text = std::string(1 << 20, 'x') + "\n--steps\n";
  parse({"--input=" + text, "--method", "svd"});
  EXPECT_EQ(config.input, text);
  parse({text, "--names", "", "a"});
  EXPECT_EQ(config.input, text);
  EXPECT_THAT(config.names, ElementsAre("", "a"));
  parse({"in", "--out="});
  EXPECT_EQ(config.common.out, "");
}

TEST_F(CommandLineTest, HelpAndVersionWorkWhereverTheyStand) {
  for (const std::string word : {"--help", "-h", "--version"}) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(parse({"in", "--steps", "1000", word}), ParseOutcome::kHelpShown);
    EXPECT_THAT(::testing::internal::GetCapturedStdout(),
                HasSubstr(word == "--version" ? "lowbank 0." : "usage: lowbank sample"));
  }
}

TEST_F(CommandLineTest, AMissingRequiredKeyAndAWordTooManyAreNamed) {
  EXPECT_EQ(parse_error({}), "input is missing: what is read");
  EXPECT_THAT(parse_error({"in", "out", "more"}), HasSubstr("unexpected argument 'more'"));
}

TEST_F(CommandLineTest, TheDeviceHasOneOfThreeForms) {
  for (const std::string device : {"cpu", "cuda", "cuda:0", "cuda:12"}) {
    EXPECT_EQ(parse_error({"in", "--device", device}), "no error");
  }
  for (const std::string device : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0"}) {
    EXPECT_EQ(parse_error({"in", "--device=" + device}),
              "device: wants cpu, cuda or cuda:i; got '" + device + "'");
  }
}

TEST_F(CommandLineTest, ARecipeThatIsNotForThisStageIsRefused) {
  EXPECT_THAT(parse_error({folder.file("a.json", "[1]")}), HasSubstr("a recipe is a JSON object"));
  EXPECT_THAT(parse_error({folder.file("b.json", R"({"stages": []})")}),
              HasSubstr("start it with `lowbank run"));
  EXPECT_THAT(parse_error({folder.file("c.json", R"({"stage": "other", "input": "x"})")}),
              HasSubstr("is a recipe for stage \"other\", not for 'sample'"));
  EXPECT_THAT(parse_error({folder.file("d.json", R"({"name": 3, "input": "x"})")}),
              HasSubstr("name wants a string"));
  EXPECT_THAT(error_text<IoError>([&] { parse({folder.path("none.json")}); }),
              HasSubstr("none.json: cannot open"));
}

TEST_F(CommandLineTest, HelpNamesEveryKeyWithItsRangeAndDefault) {
  const std::string text = help_text(config);
  for (const auto& key : field_keys(config.fields())) {
    std::string flag = key;
    if (key.find('.') == std::string::npos) {
      flag = "--" + key;
      std::replace(flag.begin(), flag.end(), '_', '-');
    }
    EXPECT_THAT(text, HasSubstr(flag));
  }
  EXPECT_THAT(text, HasSubstr("how many [default 10; in [1, 100] steps]"));
  EXPECT_THAT(text, HasSubstr("usage: lowbank sample INPUT OUT [options]"));
  EXPECT_THAT(text, HasSubstr("example:\n  lowbank sample in.txt"));
}

}  // namespace
}  // namespace lowbank
