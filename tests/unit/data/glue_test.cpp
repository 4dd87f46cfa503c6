#include "data/glue.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using testing::error_text;
using testing::TempFolder;

class Glue : public ::testing::Test {
 protected:
  std::vector<SentenceExample> read(const std::string& content, std::int64_t limit = 0) const {
    return read_glue(glue_task("sts-b"), folder_.file("dev.tsv", content), GlueSplit::kDev, limit);
  }
  /// What is said of the file, after its name.
  std::string refusal(const std::string& content) const {
    const auto text = error_text<IoError>([&] { read(content); });
    const auto file = folder_.path("dev.tsv") + ": ";
    return text.starts_with(file) ? text.substr(file.size()) : text;
  }

  TempFolder folder_;
};

TEST_F(Glue, ColumnsGoByTheirNamesAndQuotationMarksAreCharacters) {
  const auto examples = read(
      "score\textra\tsentence2\tsentence1\n"
      "2.5\tx\tHe said \"no.\t\"Yes\", he said.\n"
      "0\t\tb\ta\n");
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].first, "\"Yes\", he said.");
  EXPECT_EQ(examples[0].second, "He said \"no.");
  EXPECT_EQ(examples[0].label, 2.5);
  EXPECT_EQ(examples[1].label, 0);
}

TEST_F(Glue, AByteOrderMarkAndTheEndsOfLinesOfOtherSystemsMakeNoDifference) {
  for (const auto* content : {"\xEF\xBB\xBFsentence1\tsentence2\tscore\r\na\tb\t5\r\nc\td\t1.0\r\n",
                              "sentence1\tsentence2\tscore\ra\tb\t5\rc\td\t1.0",
                              "sentence1\tsentence2\tscore\na\tb\t5\n\nc\td\t1.0"}) {
    const auto examples = read(content);
    ASSERT_EQ(examples.size(), 2u) << content;
    EXPECT_EQ(examples[0].first, "a");
    EXPECT_EQ(examples[1].second, "d");
    EXPECT_EQ(examples[1].label, 1.0);
  }
}

TEST_F(Glue, ALimitTakesTheFirstAndLooksNoFurther) {
  const auto examples = read("sentence1\tsentence2\tscore\na\tb\t5\nc\td\t1\nbroken\n", 2);
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[1].first, "c");
}

TEST_F(Glue, WhatIsWrongInALineIsSaidWithItsNumber) {
  const std::string header = "sentence1\tsentence2\tscore\n";
  EXPECT_EQ(refusal(header + "a\tb\t5\na\tb\n"), "line 3: 2 cells between tabs; the header has 3");
  EXPECT_EQ(refusal(header + "a\tb\t5\t\n"), "line 2: 4 cells between tabs; the header has 3");
  EXPECT_EQ(refusal(header + "a\t\t5\n"), "line 2: sentence2 is empty");
  for (const auto* score : {"", "high", "5.01", "-0.1", "nan", "inf", "1e999", "4,5", "3 ", "+3"}) {
    EXPECT_EQ(refusal(header + "a\tb\t" + score + "\n"),
              std::string("line 2: score: must be a number in [0, 5]; got '") + score + "'");
  }
}

TEST_F(Glue, FilesWithoutAColumnOrAnExampleAreRefused) {
  EXPECT_EQ(refusal("sentence1\tscore\na\t1\n"),
            "column 'sentence2' is missing; the first line has to name it");
  EXPECT_EQ(refusal(""), "column 'sentence1' is missing; the first line has to name it");
  EXPECT_EQ(refusal("sentence1\tsentence2\tscore\tscore\n"), "two columns are called 'score'");
  EXPECT_EQ(refusal("sentence1\tsentence2\tscore\n"), "has no examples below the header");
  EXPECT_THAT(refusal("sentence1\tsentence2\tscore\n\xff\tb\t1\n"), ::testing::HasSubstr("UTF-8"));
}

TEST_F(Glue, AFolderServesTheSplitUnderEitherName) {
  const auto& task = glue_task("sts-b");
  EXPECT_EQ(error_text<IoError>([&] { read_glue(task, folder_.path(), GlueSplit::kDev); }),
            folder_.path() + ": has neither dev.tsv nor heldout_subset.tsv");
  folder_.file("heldout_subset.tsv", "sentence1\tsentence2\tscore\nsubset\tb\t1\n");
  EXPECT_EQ(read_glue(task, folder_.path(), GlueSplit::kDev)[0].first, "subset");
  folder_.file("dev.tsv", "sentence1\tsentence2\tscore\nwhole\tb\t1\n");
  EXPECT_EQ(read_glue(task, folder_.path(), GlueSplit::kDev)[0].first, "whole");
  folder_.file("train_subset.tsv", "sentence1\tsentence2\tscore\ntrain\tb\t1\n");
  EXPECT_EQ(read_glue(task, folder_.path(), GlueSplit::kTrain)[0].first, "train");
  EXPECT_THROW(read_glue(task, folder_.path("absent.tsv"), GlueSplit::kDev), IoError);
}

TEST_F(Glue, ClassesAreTheNumbersOfTheirNames) {
  const std::string header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";
  const auto& task = glue_task("mrpc");
  const auto file = folder_.file("train.tsv", header + "1\t7\t8\ta\tb\n0\t9\t9\tc\td\n");
  const auto examples = read_glue(task, file, GlueSplit::kTrain);
  EXPECT_EQ(examples[0].label, 1);
  EXPECT_EQ(examples[1].label, 0);
  EXPECT_EQ(examples[1].second, "d");
  folder_.file("train.tsv", header + "2\t7\t8\ta\tb\n");
  EXPECT_EQ(error_text<IoError>([&] { read_glue(task, file, GlueSplit::kTrain); }),
            file + ": line 2: Quality: must be one of 0, 1; got '2'");
}

TEST_F(Glue, ATableMayHaveSingleSentencesAndAnyNumbers) {
  const SentenceTask task = {.name = "table", .first_column = "text", .label_column = "value"};
  const auto file = folder_.file("table.tsv", "value\tother\ttext\n-2.5\t\tone\n1e3\tx\ttwo\n");
  const auto examples = read_sentences(task, file);
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].first, "one");
  EXPECT_EQ(examples[0].second, "");
  EXPECT_EQ(examples[0].label, -2.5);
  EXPECT_EQ(examples[1].label, 1000);
  folder_.file("table.tsv", "value\ttext\nhigh\tone\n");
  EXPECT_EQ(error_text<IoError>([&] { read_sentences(task, file); }),
            file + ": line 2: value: must be a number; got 'high'");
}

TEST_F(Glue, AnUnknownTaskIsRefusedWithTheOneThatWasMeant) {
  EXPECT_EQ(error_text<ConfigError>([] { glue_task("stsb"); }),
            "task: unknown 'stsb', one of mrpc, sts-b; did you mean 'sts-b'?");
}

TEST_F(Glue, TheOfficialFilesAreReadWhole) {
  const char* const data = std::getenv("LOWBANK_SHARED_DATA");
  if (data == nullptr) GTEST_SKIP() << "no GLUE files: set LOWBANK_SHARED_DATA";
  const std::string folder = std::string(data) + "/glue/";
  const auto count = [&](const char* task, const char* name, GlueSplit split) {
    return read_glue(glue_task(task), folder + name, split).size();
  };
  EXPECT_EQ(count("sts-b", "STS-B", GlueSplit::kTrain), 5749u);
  EXPECT_EQ(count("sts-b", "STS-B", GlueSplit::kDev), 1500u);
  EXPECT_EQ(count("mrpc", "MRPC", GlueSplit::kTrain), 3668u);
  EXPECT_EQ(count("mrpc", "MRPC", GlueSplit::kDev), 408u);
}

}  // namespace
}  // namespace lowbank
