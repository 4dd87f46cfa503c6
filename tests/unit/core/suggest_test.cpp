#include "core/suggest.h"

#include <vector>

#include <gtest/gtest.h>

namespace lowbank {
namespace {

const std::vector<std::string> kWords = {"learning_rate", "steps", "seed", "out"};

TEST(SuggestTest, TheNearestWordIsSuggested) {
  EXPECT_EQ(did_you_mean("lerning_rate", kWords), "; did you mean 'learning_rate'?");
  EXPECT_EQ(did_you_mean("step", kWords), "; did you mean 'steps'?");
  EXPECT_EQ(did_you_mean("sede", kWords), "; did you mean 'seed'?");
}

TEST(SuggestTest, APartOfANameIsSuggestedAsTheFirstNameThatHasIt) {
  const std::vector<std::string> systems = {"gpu-a100", "pimba-a100", "pimba-h100"};
  EXPECT_EQ(did_you_mean("Pimba", systems), "; did you mean 'pimba-a100'?");
  EXPECT_EQ(did_you_mean("H100", systems), "; did you mean 'pimba-h100'?");
  EXPECT_EQ(did_you_mean("rate", kWords), "; did you mean 'learning_rate'?");
  EXPECT_EQ(did_you_mean("ou", systems), "");
}

TEST(SuggestTest, NothingIsSuggestedForAWordThatIsNearNone) {
  EXPECT_EQ(did_you_mean("momentum", kWords), "");
  EXPECT_EQ(did_you_mean("xyz", kWords), "");  // three wrong letters of three
  EXPECT_EQ(did_you_mean("", kWords), "");
  EXPECT_EQ(did_you_mean("steps", std::vector<std::string>{}), "");
}

}  // namespace
}  // namespace lowbank
