#include "core/resources.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TempFolder;

class ResourcesTest : public ::testing::Test {
 protected:
  void TearDown() override { unsetenv("LOWBANK_HOME"); }
};

TEST_F(ResourcesTest, HomeComesBeforeTheFoldersAboveTheExecutable) {
  const TempFolder home;
  // The test lies in <build>/tests, so <build>/tests itself is found by walking up.
  const std::string beside = find_resource("core_test");
  EXPECT_EQ(beside, executable_folder() + "/core_test");
  home.file("core_test", "");
  setenv("LOWBANK_HOME", home.path().c_str(), 1);
  EXPECT_EQ(find_resource("core_test"), home.path("core_test"));
}

TEST_F(ResourcesTest, FoldersAboveTheExecutableAreSearched) {
  EXPECT_EQ(find_resource("tests/core_test"), executable_folder() + "/core_test");
}

TEST_F(ResourcesTest, AMissingFileIsNamedWithThePlacesLookedAt) {
  setenv("LOWBANK_HOME", "/nowhere", 1);
  try {
    find_resource("configs/none.json");
    FAIL() << "found it";
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("configs/none.json"), HasSubstr("/nowhere"),
                                HasSubstr(executable_folder()), HasSubstr("share/lowbank")));
  }
}

TEST_F(ResourcesTest, AnInputIsTakenAsItIsUnlessOnlyLowbankHasIt) {
  const TempFolder folder;
  const std::string path = folder.file("x", "");
  EXPECT_EQ(find_input(path), path);
  EXPECT_EQ(find_input("no/such/file"), "no/such/file");
  EXPECT_EQ(find_input(""), "");

  const TempFolder home;
  setenv("LOWBANK_HOME", home.path().c_str(), 1);
  fs::create_directories(home.path("configs"));
  fs::create_directories(home.path("data/samples"));
  home.file("configs/only_in_home.json", "");
  home.file("data/samples/only_in_home.txt", "");
  home.file("data/only_in_home.txt", "");
  EXPECT_EQ(find_input("configs/only_in_home.json"), home.path("configs/only_in_home.json"));
  EXPECT_EQ(find_input("data/samples/only_in_home.txt"),
            home.path("data/samples/only_in_home.txt"));
  EXPECT_EQ(find_input("data/only_in_home.txt"), "data/only_in_home.txt") << "does not ship";
  EXPECT_EQ(find_input("configs/../data/only_in_home.txt"), "configs/../data/only_in_home.txt");
}

TEST_F(ResourcesTest, APathOfARecipeMayStartAtTheRecipe) {
  const TempFolder folder;
  const std::string path = folder.file("text.txt", "");
  EXPECT_EQ(find_input("text.txt", folder.path()), path);
  EXPECT_EQ(find_input("none.txt", folder.path()), "none.txt");
  EXPECT_EQ(find_input("text.txt"), "text.txt");
}

}  // namespace
}  // namespace lowbank
