#include "config/fingerprint.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/opened_files.h"
#include "core/resources.h"
#include "core/text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::SampleConfig;
using testing::TempFolder;

class FingerprintTest : public ::testing::Test {
 protected:
  FingerprintTest() {
    fs::create_directories(folder.path("run/state"));
    folder.file("run/metrics.json", "{}");
    config.input = folder.path("run");
  }
  Json take(const Json& known = Json::object()) { return stage_fingerprint(config, known); }
  bool unchanged() { return same_fingerprint(first, take(first)); }
  TempFolder folder;
  SampleConfig config;
  Json first;
};

TEST_F(FingerprintTest, ChangesWithSettingsThatMatterOnly) {
  first = take();
  EXPECT_TRUE(unchanged());
  config.common.threads = 3;
  config.common.quiet = true;
  config.common.out = "elsewhere";
  config.resume = true;
  EXPECT_TRUE(unchanged());
  config.sigma = 0.2;
  EXPECT_FALSE(unchanged());
  config.sigma = 0.1;
  config.common.seed = 1;
  EXPECT_FALSE(unchanged());
}

TEST_F(FingerprintTest, ChangesWithTheContentOfInputs) {
  const std::string file = folder.file("run/weights", "one");
  first = take();
  folder.file("run/weights", "two");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(2));
  EXPECT_FALSE(unchanged());
  folder.file("run/weights", "one");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(5));
  EXPECT_TRUE(unchanged()) << "a new time with the old content is no change";
  folder.file("run/more", "");
  EXPECT_FALSE(unchanged());
}

TEST_F(FingerprintTest, ARecordOfARunIsNoContent) {
  first = take();
  for (const auto* name : {"run.json", "started.json", "log.txt", "f.1.tmp", "state/optimizer"}) {
    folder.file(std::string("run/") + name, "x");
    EXPECT_TRUE(unchanged()) << name;
  }
}

TEST_F(FingerprintTest, AKnownFileIsNotReadAgain) {
  first = take();
  Json known = first;
  known["inputs"][folder.path("run/metrics.json")]["hash"] = "remembered";
  EXPECT_EQ(take(known)["inputs"][folder.path("run/metrics.json")]["hash"], "remembered");
}

TEST_F(FingerprintTest, AMissingInputIsAnIoError) {
  config.files = {folder.path("none")};
  EXPECT_THROW(take(), IoError);
}

TEST_F(FingerprintTest, ADamagedRecordIsNeverTheSame) {
  EXPECT_FALSE(same_fingerprint(Json(), take()));
  EXPECT_FALSE(same_fingerprint(Json::object(), take()));
  folder.file("run/weights", "one");
  first = take();
  for (const char* text : {"[]", "7", R"("x")", R"({"inputs": 7})", R"({"inputs": [1]})",
                           R"({"settings": 7})", R"({"inputs": {"/none": 7}, "settings": []})"}) {
    const Json damaged = Json::parse(text);
    EXPECT_FALSE(same_fingerprint(damaged, first)) << text;
  }
  Json damaged = first;
  damaged["inputs"][folder.path("run/weights")] = {{"size_bytes", "3"}, {"ctime_ns", {}}};
  EXPECT_TRUE(same_fingerprint(take(damaged), first)) << "the file is read again";
}

TEST_F(FingerprintTest, EveryFileThatWasReadIsAnInput) {
  const std::string part = folder.file("part.json", "1");
  forget_opened_files();
  read_bytes(part);
  read_bytes(folder.path("run/metrics.json"));
  fs::create_directories(folder.path("own"));
  folder.file("own/file", "x");
  read_bytes(folder.path("own/file"));
  first = take();
  add_opened_files(first, folder.path("own"));
  EXPECT_TRUE(first["inputs"].contains(part));
  EXPECT_FALSE(first["inputs"].contains(folder.path("own/file")));
  EXPECT_TRUE(unchanged());
  folder.file("part.json", "2");
  EXPECT_FALSE(unchanged());
  fs::remove(part);
  EXPECT_THROW(take(first), IoError);
}

TEST_F(FingerprintTest, AFileThatWasMissedIsAnInputToo) {
  forget_opened_files();
  note_missing_file(folder.path("special.json"));
  note_missing_file(folder.path("own/file"));
  first = take();
  add_opened_files(first, folder.path("own"));
  EXPECT_TRUE(unchanged());
  EXPECT_FALSE(first["inputs"].contains(folder.path("own/file")));
  folder.file("special.json", "1");
  EXPECT_FALSE(unchanged());
  fs::remove(folder.path("special.json"));
  EXPECT_TRUE(unchanged());
}

TEST_F(FingerprintTest, AShippedFileGivesWayToOneOfTheSamePathHere) {
  const fs::path before = fs::current_path();
  fs::create_directories(folder.path("home/configs"));
  folder.file("home/configs/a.json", "1");
  forget_opened_files();
  setenv("LOWBANK_HOME", folder.path("home").c_str(), 1);
  fs::current_path(folder.path());
  read_bytes(find_input("configs/a.json"));
  first = take();
  add_opened_files(first, folder.path("own"));
  EXPECT_TRUE(unchanged());
  fs::create_directories("configs");
  folder.file("configs/a.json", "2");
  EXPECT_FALSE(unchanged());
  fs::current_path(before);
  unsetenv("LOWBANK_HOME");
}

TEST_F(FingerprintTest, AnInputThatChangedWhileTheStageWorkedIsNeverTheSame) {
  const std::string file = folder.file("run/weights", "one");
  forget_opened_files();
  read_bytes(file);
  folder.file("run/weights", "longer");
  first = take();
  add_opened_files(first, folder.path("own"));
  forget_opened_files();  // the next process
  EXPECT_FALSE(unchanged());
}

TEST_F(FingerprintTest, AShippedFileIsLookedUpAgain) {
  for (const char* home : {"old", "new"}) {
    fs::create_directories(folder.path(home) + "/configs");
  }
  folder.file("old/configs/a.json", "1");
  folder.file("new/configs/a.json", "2");
  forget_opened_files();
  setenv("LOWBANK_HOME", folder.path("old").c_str(), 1);
  read_bytes(find_resource("configs/a.json"));
  first = take();
  add_opened_files(first, folder.path("own"));
  EXPECT_TRUE(first["inputs"].contains("installation:configs/a.json"));
  EXPECT_TRUE(unchanged());
  setenv("LOWBANK_HOME", folder.path("new").c_str(), 1);
  EXPECT_FALSE(unchanged());
  unsetenv("LOWBANK_HOME");
}

TEST_F(FingerprintTest, AContentPutInPlaceWithTheOldTimesIsNoticed) {
  const std::string file = folder.file("run/weights", "one");
  const auto time = fs::last_write_time(file);
  first = take();
  folder.file("run/weights", "two");
  fs::last_write_time(file, time);
  EXPECT_FALSE(unchanged());
}

TEST_F(FingerprintTest, OutputsMustLieThereWithTheirContent) {
  folder.file("run/weights", "one");
  const std::string run = folder.path("run");
  const Json outputs = describe_outputs(run, "");
  EXPECT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs["weights"]["size_bytes"], 3);
  EXPECT_TRUE(has_outputs(run, "", outputs));
  for (const char* content : {"four", "onf", ""}) {
    folder.file("run/weights", content);
    EXPECT_FALSE(has_outputs(run, "", outputs)) << content;
  }
  folder.file("run/weights", "one");
  EXPECT_TRUE(has_outputs(run, "", outputs)) << "the same content at another time";
  fs::remove(folder.path("run/weights"));
  EXPECT_FALSE(has_outputs(run, "", outputs));
  EXPECT_FALSE(has_outputs(run, "", Json()));
  EXPECT_FALSE(has_outputs(run, "", Json{{"metrics.json", 2}})) << "a record without hashes";
}

TEST_F(FingerprintTest, ThePageOutsideTheFolderIsAnOutput) {
  const std::string run = folder.path("run");
  const std::string page = folder.file("run.html", "<p>");
  const Json outputs = describe_outputs(run, page);
  EXPECT_TRUE(has_outputs(run, page, outputs));
  EXPECT_FALSE(has_outputs(run, folder.file("other.html", "<p>"), outputs));
  folder.file("run.html", "<q>");
  EXPECT_FALSE(has_outputs(run, page, outputs));
  EXPECT_FALSE(has_outputs(run, page, describe_outputs(run, "")));
}

}  // namespace
}  // namespace lowbank
