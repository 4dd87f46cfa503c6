#include "io/checkpoint_folder.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

TEST(CheckpointWriter, NothingShowsBeforePublishAndEverythingAfter) {
  const TempFolder folder;
  const std::string target = folder.path("deep/checkpoint");
  CheckpointWriter writer(target);
  write_file(writer.staging_path("config.json"), "new");
  write_file(writer.staging_path("model.safetensors"), "weights");
  EXPECT_FALSE(fs::exists(target + "/config.json"));
  writer.publish();
  EXPECT_EQ(read_bytes(target + "/config.json"), "new");
  EXPECT_EQ(read_bytes(target + "/model.safetensors"), "weights");
}

TEST(CheckpointWriter, PublishReplacesAnEarlierCheckpointAndLeavesOtherFiles) {
  const TempFolder folder;
  for (const auto* name : {"config.json", "model-00001-of-00002.safetensors", "tokenizer.model",
                           "model.safetensors.index.json", "importance.safetensors", "log.txt"}) {
    folder.file(name, "old");
  }
  {
    CheckpointWriter writer(folder.path());
    write_file(writer.staging_path("config.json"), "new");
    write_file(writer.staging_path("model.safetensors"), "new");
    writer.publish();
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"config.json", "importance.safetensors", "log.txt",
                                             "model.safetensors"}));
  EXPECT_EQ(read_bytes(folder.path("config.json")), "new");
}

TEST(CheckpointWriter, WithoutPublishTheOldCheckpointStaysAndANewFolderGoes) {
  const TempFolder folder;
  folder.file("config.json", "old");
  for (const auto& target : {folder.path(), folder.path("new")}) {
    CheckpointWriter writer(target);
    write_file(writer.staging_path("config.json"), "half");
  }
  EXPECT_EQ(read_bytes(folder.path("config.json")), "old");
  EXPECT_FALSE(fs::exists(folder.path(".partial")));
  EXPECT_FALSE(fs::exists(folder.path("new")));
}

TEST(CheckpointWriter, DropsWhatAKilledProcessLeftStaged) {
  const TempFolder folder;
  fs::create_directory(folder.path(".partial"));
  folder.file(".partial/model.safetensors", "half");
  CheckpointWriter writer(folder.path());
  write_file(writer.staging_path("config.json"), "new");
  writer.publish();
  EXPECT_FALSE(fs::exists(folder.path("model.safetensors")));
}

TEST(CheckpointWriter, AFolderBelowAFileIsAnError) {
  const TempFolder folder;
  EXPECT_THROW(CheckpointWriter(folder.file("plain", "x") + "/checkpoint"), IoError);
}

}  // namespace
}  // namespace lowbank
