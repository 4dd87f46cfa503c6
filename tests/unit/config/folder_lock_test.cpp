#include "config/folder_lock.h"

#include <csignal>
#include <filesystem>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using std::chrono::seconds;
using testing::error_text;
using ::testing::HasSubstr;
using testing::TempFolder;

TEST(FolderLock, ASecondOwnerIsRefusedAndToldWhoTheFirstIs) {
  const TempFolder folder;
  const FolderLock lock(folder.path(""), "lowbank finetune", seconds(0));
  EXPECT_THAT(error_text<IoError>([&] { FolderLock(folder.path(""), "lowbank run", seconds(0)); }),
              HasSubstr("in use by lowbank finetune (process " + std::to_string(getpid()) + ")"));
}

TEST(FolderLock, LeavesNothingAndIsFreeAgain) {
  const TempFolder folder;
  { const FolderLock lock(folder.path(""), "lowbank finetune", seconds(0)); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("")));
  EXPECT_NO_THROW(FolderLock(folder.path(""), "lowbank run", seconds(0)));
}

TEST(FolderLock, EndsWithItsProcess) {
  const TempFolder folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const FolderLock lock(folder.path(""), "lowbank finetune", seconds(0));
    if (write(ready[1], "x", 1) == 1) pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THROW(FolderLock(folder.path(""), "lowbank run", seconds(0)), IoError);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(std::filesystem::exists(folder.path(".lock")));
  EXPECT_NO_THROW(FolderLock(folder.path(""), "lowbank run", seconds(0)));
  close(ready[0]);
  close(ready[1]);
}

TEST(FolderLock, WaitsForAnOwnerThatEnds) {
  const TempFolder folder;
  auto first = std::make_unique<FolderLock>(folder.path(""), "lowbank finetune", seconds(0));
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    first.reset();
  });
  EXPECT_NO_THROW(FolderLock(folder.path(""), "lowbank run", seconds(60)));
  ending.join();
}

}  // namespace
}  // namespace lowbank
