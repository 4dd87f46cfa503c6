#include "core/atomic_file.h"

#include <filesystem>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/text.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using testing::TempFolder;

std::size_t num_entries(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicFileTest, NothingShowsBeforeTheCommit) {
  const TempFolder folder;
  const std::string path = folder.file("f", "old");
  AtomicFile file(path);
  file.write("new");
  EXPECT_EQ(read_bytes(path), "old");
  file.commit();
  EXPECT_EQ(read_bytes(path), "new");
  EXPECT_EQ(num_entries(folder.path()), 1u);
}

TEST(AtomicFileTest, AFileThatIsNotCommittedLeavesNothingBehind) {
  const TempFolder folder;
  { AtomicFile(folder.path("f")).write("half"); }
  EXPECT_EQ(num_entries(folder.path()), 0u);
}

TEST(AtomicFileTest, ALongContentIsWrittenWhole) {
  const TempFolder folder;
  std::string bytes(5'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  write_file(folder.path("f"), bytes);
  EXPECT_EQ(read_bytes(folder.path("f")), bytes);
}

// Not by permissions: the tests may run as root, whom they do not stop.
TEST(AtomicFileTest, AnUnwritablePlaceIsAnIoErrorThatNamesThePath) {
  const TempFolder folder;
  const std::string file = folder.file("file", "");
  EXPECT_THAT(error_text<IoError>([&] { write_file(folder.path("none/f"), "x"); }),
              HasSubstr("none/f"));
  EXPECT_THAT(error_text<IoError>([&] { write_file(file + "/f", "x"); }),
              HasSubstr("file/f: cannot write"));
  EXPECT_THAT(error_text<IoError>([&] { write_file(folder.path(), "x"); }),
              HasSubstr("is a folder"));
  EXPECT_THAT(error_text<IoError>([&] { make_folders(file + "/sub"); }), HasSubstr("file/sub"));
  EXPECT_EQ(num_entries(folder.path()), 1u);
}

TEST(AtomicFileTest, AFullDiskIsAnIoErrorAndTheOldFileStays) {
  const TempFolder folder;
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  EXPECT_THAT(error_text<IoError>([&] { write_file("/dev/full", "x"); }),
              HasSubstr("No space left"));
}

TEST(AtomicFileTest, ADeviceIsWrittenToAndNotReplaced) {
  write_file("/dev/null", "x");
  struct stat info {};
  ASSERT_EQ(stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(AtomicFileTest, ALinkStaysALinkToTheNewContent) {
  const TempFolder folder;
  const std::string target = folder.file("target", "old");
  fs::create_symlink(target, folder.path("link"));
  write_file(folder.path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(folder.path("link")));
  EXPECT_EQ(read_bytes(target), "new");
}

TEST(AtomicFileTest, ALinkToNothingStaysALinkAndGetsItsFile) {
  const TempFolder folder;
  fs::create_symlink("target", folder.path("link"));
  write_file(folder.path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(folder.path("link")));
  EXPECT_EQ(read_bytes(folder.path("target")), "new");
  fs::create_symlink("none/target", folder.path("lost"));
  EXPECT_THROW(write_file(folder.path("lost"), "new"), IoError);
  EXPECT_TRUE(fs::is_symlink(folder.path("lost")));
}

TEST(AtomicFileTest, ALinkInAFolderOfOurOwnIsReplaced) {
  const TempFolder folder;
  const std::string target = folder.file("target", "old");
  fs::create_symlink(target, folder.path("link"));
  write_file(folder.path("link"), "new", AtomicFile::Links::kReplace);
  EXPECT_FALSE(fs::is_symlink(folder.path("link")));
  EXPECT_EQ(read_bytes(target), "old");
}

TEST(AtomicFileTest, WhatOthersLeftIsRemoved) {
  const TempFolder folder;
  const std::string dead = "2000000000";  // above the largest process number of Linux
  const std::string own = std::to_string(getpid());
  for (const std::string& name : std::vector<std::string>{
           "out.json." + dead + ".tmp", "out.json." + own + ".tmp", "out.json.1.tmp",
           "other." + dead + ".tmp", "out.json." + dead, "out.json.x.tmp", "notes.tmp"}) {
    folder.file(name, "");
  }
  remove_dead_temporaries(folder.path(), "out.json");
  EXPECT_FALSE(fs::exists(folder.path("out.json." + dead + ".tmp")));
  EXPECT_EQ(num_entries(folder.path()), 6u);
  remove_left_temporaries(folder.path());
  EXPECT_FALSE(fs::exists(folder.path("other." + dead + ".tmp")));
  EXPECT_FALSE(fs::exists(folder.path("out.json.1.tmp")));
  EXPECT_EQ(num_entries(folder.path()), 4u);
}

}  // namespace
}  // namespace lowbank
