#include "core/log.h"

#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/progress.h"
#include "core/text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LogTest : public ::testing::Test {
 protected:
  void TearDown() override {
    log_to_file("");
    configure_log({});
  }
  // What `work` prints to standard output and standard error.
  template <class Work>
  std::pair<std::string, std::string> captured(Work work) {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    work();
    std::string out = ::testing::internal::GetCapturedStdout();
    return {out, ::testing::internal::GetCapturedStderr()};
  }
  static void say_everything() {
    note("n{}", 1);
    warn("w{}", 2);
    print("p{}", 3);
  }
};

TEST_F(LogTest, ResultsGoToStandardOutputAndTalkToStandardError) {
  const auto [out, err] = captured(say_everything);
  EXPECT_EQ(out, "p3\n");
  EXPECT_EQ(err, "n1\nwarning: w2\n");
}

TEST_F(LogTest, QuietLeavesResultsAndWarnings) {
  configure_log({.quiet = true});
  const auto [out, err] = captured(say_everything);
  EXPECT_EQ(out, "p3\n");
  EXPECT_EQ(err, "warning: w2\n");
}

TEST_F(LogTest, JsonKeepsStandardOutputForTheObject) {
  configure_log({.json = true});
  const auto [out, err] = captured(say_everything);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "n1\nwarning: w2\np3\n");
}

TEST_F(LogTest, AStageOfARunKeepsItsNotesForTheLogFile) {
  const testing::TempFolder folder;
  configure_log({.stage_label = "[1/2] "});
  log_to_file(folder.path("log.txt"));
  const auto [out, err] = captured(say_everything);
  EXPECT_EQ(err, "warning: w2\n");
  const std::string log = read_text(folder.path("log.txt"));
  EXPECT_THAT(log, HasSubstr("Z n1\n"));
  EXPECT_THAT(log, HasSubstr("Z warning: w2\n"));
  EXPECT_THAT(log, Not(HasSubstr("p3")));
}

TEST_F(LogTest, NamesFromFilesCannotSteerTheTerminal) {
  const testing::TempFolder folder;
  log_to_file(folder.path("log.txt"));
  const std::string name = "x\x1b[2J\n\xC2\x9B\xFF";
  const auto [out, err] = captured([&] {
    note("note {}", name);
    warn("warn {}", name);
    error_line("error " + name);
    print("print {}", name);
    print_text(name);
  });
  const std::string shown = "x\\x1b[2J\\n\\u009b\\xff\n";
  EXPECT_EQ(err, "note " + shown + "warning: warn " + shown + "error " + shown);
  EXPECT_EQ(out, "print " + shown + name) << "text that was asked for stays as it is";
  const std::string log = read_text(folder.path("log.txt"));
  EXPECT_THAT(log, HasSubstr("note " + shown));
  EXPECT_EQ(split_lines(log).size(), 2u);
}

TEST_F(LogTest, AResultThatCannotBePrintedIsReportedAtTheEnd) {
  const int saved = dup(STDOUT_FILENO);
  const int full = open("/dev/full", O_WRONLY);
  dup2(full, STDOUT_FILENO);
  EXPECT_NO_THROW(print("a table"));
  EXPECT_NO_THROW(print("another line"));
  EXPECT_THROW(require_printed(), IoError);
  EXPECT_NO_THROW(require_printed()) << "reported once";
  EXPECT_THROW(print_text("generated"), IoError);
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(full);
}

TEST_F(LogTest, ALogThatCannotBeOpenedIsAnIoError) {
  const testing::TempFolder folder;
  EXPECT_THROW(log_to_file(folder.file("f", "") + "/log.txt"), IoError);
}

TEST_F(LogTest, NoBarIsDrawnWhereNobodyWatches) {
  const auto [out, err] = captured([] {
    ProgressBar bar("work", 10, "step");
    bar.update(5, "loss 2.0");
  });
  EXPECT_EQ(out + err, "");
}

TEST(ProgressTest, DurationsAreWrittenForPeople) {
  EXPECT_EQ(format_duration(0.04), "0.0 s");
  EXPECT_EQ(format_duration(41.25), "41.2 s");
  EXPECT_EQ(format_duration(59.97), "1 min 00 s");
  EXPECT_EQ(format_duration(184), "3 min 04 s");
  EXPECT_EQ(format_duration(3599.9), "1 h 00 min");
  EXPECT_EQ(format_duration(7500), "2 h 05 min");
}

}  // namespace
}  // namespace lowbank
