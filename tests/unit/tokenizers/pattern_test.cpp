#include "data/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;

std::vector<std::string> matches(const std::string& regex, const std::string& text) {
  const Pattern pattern(regex, "test");
  PatternMatches all(pattern, text);
  std::vector<std::string> out;
  std::size_t begin = 0;
  std::size_t end = 0;
  while (all.next(begin, end)) out.push_back(text.substr(begin, end - begin));
  return out;
}

TEST(Pattern, SpacesAreUnicodesOwn) {
  // U+0085, U+00A0, U+3000, but not U+180E, which PCRE2 counts in.
  EXPECT_THAT(matches(R"(\s)", "a\xC2\x85\xC2\xA0\xE1\xA0\x8E\xE3\x80\x80"),
              ElementsAre("\xC2\x85", "\xC2\xA0", "\xE3\x80\x80"));
  EXPECT_THAT(matches(R"([^\s]+)", "a\xE1\xA0\x8E b"), ElementsAre("a\xE1\xA0\x8E", "b"));
  EXPECT_THAT(matches(R"(\S+)", "a\xE1\xA0\x8E b"), ElementsAre("a\xE1\xA0\x8E", "b"));
}

TEST(Pattern, WordsHaveMarksAndDigits) {
  EXPECT_THAT(matches(R"(\w+)", "e\xCC\x81_1 \xC2\xB2-x"),
              ElementsAre("e\xCC\x81_1", "\xC2\xB2", "x"));
}

TEST(Pattern, ClassesKnowCharactersNewerThanTheLibrary) {
  // U+10D4A, a letter, and U+10D40, a digit, both of Unicode 16.
  EXPECT_THAT(matches(R"(\p{L}+)", "a\xF0\x90\xB5\x8A!"), ElementsAre("a\xF0\x90\xB5\x8A"));
  EXPECT_THAT(matches(R"([\p{N}]+)", "1\xF0\x90\xB5\x80!"), ElementsAre("1\xF0\x90\xB5\x80"));
  EXPECT_THAT(matches(R"([^\p{L}\p{N}]+)", "a\xF0\x90\xB5\x80!"), ElementsAre("!"));
  EXPECT_THAT(matches(R"(\P{L}+)", "a\xF0\x90\xB5\x8A!"), ElementsAre("!"));
}

TEST(Pattern, LinesAndHexDigitsAreAsInRuby) {
  EXPECT_THAT(matches("^b$", "a\nb\nc"), ElementsAre("b"));
  EXPECT_THAT(matches(R"(\h+)", "xyz0aF g"), ElementsAre("0aF"));
  EXPECT_THAT(matches(R"(\u00e9)", "caf\xC3\xA9"), ElementsAre("\xC3\xA9"));
}

TEST(Pattern, AnEmptyMatchRightAfterAMatchIsPassedOver) {
  EXPECT_THAT(matches("x*", "axxb"), ElementsAre("", "xx", ""));
  EXPECT_THAT(matches("", "\xC3\xA9"), ElementsAre("", ""));
}

TEST(Pattern, LiteralsMatchThemselves) {
  const std::string signs = "a.b*c[d]\\e^f$g|h(i){j}+?-#&";
  const auto pattern = Pattern::literal(signs, "test");
  std::size_t begin = 0;
  std::size_t end = 0;
  ASSERT_TRUE(pattern.find("x" + signs + "y", 0, begin, end));
  EXPECT_EQ(begin, 1u);
  EXPECT_EQ(end, 1 + signs.size());
  EXPECT_FALSE(pattern.find("aXb", 0, begin, end));
}

TEST(Pattern, RefusesWhatItWouldReadOtherwise) {
  const auto says = [](const char* regex) {
    return error_text<IoError>([&] { Pattern(regex, "file: key"); });
  };
  EXPECT_THAT(says("[a&&b]"), HasSubstr("file: key: && in a set at byte 2"));
  EXPECT_THAT(says("[a[b]]"), HasSubstr("a set inside a set"));
  EXPECT_THAT(says("[[:alpha:]]"), HasSubstr("a set inside a set"));
  EXPECT_THAT(says("(a"), HasSubstr("cannot read the pattern (a"));
  EXPECT_THAT(says(R"(\p{NoSuch})"), HasSubstr("cannot read the pattern"));
  EXPECT_THAT(says("\\pL"), HasSubstr("\\p without {name}"));
}

TEST(Pattern, GivesUpOnATextThatTakesTooManySteps) {
  const Pattern pattern("(a+a+)+[bc]", "file: key");
  std::size_t begin = 0;
  std::size_t end = 0;
  const auto message =
      error_text<IoError>([&] { pattern.find(std::string(60, 'a'), 0, begin, end); });
  EXPECT_THAT(message, HasSubstr("file: key: cannot match the pattern at byte 0"));
}

}  // namespace
}  // namespace lowbank
