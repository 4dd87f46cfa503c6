#include "tokenizers/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"

namespace lowbank::tokenizers {
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

TEST(Pattern, EdgesOfWordsKnowMarks) {
  EXPECT_THAT(matches(R"(\b.)", "e\xCC\x81 a"), ElementsAre("e", " ", "a"));
  EXPECT_THAT(matches(R"(.\B)", "e\xCC\x81 a"), ElementsAre("e"));
}

TEST(Pattern, ComplementsInsideASetKnowWhatTheClassesKnow) {
  const std::string text = "e\xCC\x81-1\xF0\x90\xB5\x80 ";  // a mark, and a digit of Unicode 16
  EXPECT_THAT(matches(R"([\W])", text), ElementsAre("-", " "));
  EXPECT_THAT(matches(R"([\W\d]+)", text), ElementsAre("-1\xF0\x90\xB5\x80 "));
  EXPECT_THAT(matches(R"([^\W\d]+)", text), ElementsAre("e\xCC\x81"));
  EXPECT_THAT(matches(R"([^\P{N}]+)", text), ElementsAre("1\xF0\x90\xB5\x80"));
  EXPECT_THAT(matches(R"([^\P{L}\P{Lu}])", "aB1"), ElementsAre("B"));
  EXPECT_THAT(matches(R"([^\S\r\n]+)", " \xE1\xA0\x8E\n\t"), ElementsAre(" ", "\t"));
  EXPECT_THAT(matches(R"([\s\S])", "\xE1\xA0\x8E\n"), ElementsAre("\xE1\xA0\x8E", "\n"));
  EXPECT_THAT(matches(R"([^\p{Cn}]+)", "1\xF0\x90\xB5\x80\xCD\xB8"),
              ElementsAre("1\xF0\x90\xB5\x80"));
}

TEST(Pattern, IntervalsAreAsInRuby) {
  // A plus after an interval repeats it; it does not make it possessive.
  EXPECT_THAT(matches(R"(\d{1,3}+)", "12345a1"), ElementsAre("12345", "1"));
  EXPECT_THAT(matches(R"((?:ab){1,2}+a)", "abababa"), ElementsAre("abababa"));
  EXPECT_THAT(matches(R"(\x61{1,2}+b)", "aaab"), ElementsAre("aaab"));
  EXPECT_THAT(matches(R"([ab]{,2})", "abab"), ElementsAre("ab", "ab"));
  EXPECT_THAT(matches("a{2}?b", "b"), ElementsAre("b"));
  EXPECT_THAT(matches("a{x}{", "a{x}{"), ElementsAre("a{x}{"));
  EXPECT_THAT(matches("a++a", "aaa"), ElementsAre());
}

TEST(Pattern, OptionsReachToTheEndOfTheirGroup) {
  EXPECT_THAT(matches("(x(?i)a|b)c", "xBc xbc xAc bc"), ElementsAre("xBc", "xbc", "xAc"));
  EXPECT_THAT(matches("(?m)a.b", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(matches("(?-m:a.b)", "a\nb"), ElementsAre());
}

TEST(Pattern, LinesAndHexDigitsAreAsInRuby) {
  EXPECT_THAT(matches("^b$", "a\nb\nc"), ElementsAre("b"));
  EXPECT_THAT(matches(R"(\h+)", "xyz0aF g"), ElementsAre("0aF"));
  EXPECT_THAT(matches(R"([\v]|\v)", "\n\v\r"), ElementsAre("\v"));
  EXPECT_THAT(matches(R"(\u00e9)", "caf\xC3\xA9"), ElementsAre("\xC3\xA9"));
}

TEST(Pattern, AnEmptyMatchRightAfterAMatchIsPassedOver) {
  EXPECT_THAT(matches("x*", "axxb"), ElementsAre("", "xx", ""));
  EXPECT_THAT(matches("", "\xC3\xA9"), ElementsAre("", ""));
  EXPECT_THAT(matches("x*", ""), ElementsAre());
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
  EXPECT_THAT(says(R"(\Qa\E)"), HasSubstr("\\Q at byte 0"));
  EXPECT_THAT(says(R"(\X)"), HasSubstr("\\X at byte 0"));
  EXPECT_THAT(says("(?s)."), HasSubstr("(? option at byte 2"));
  EXPECT_THAT(says("a(*FAIL)"), HasSubstr("(* at byte 1"));
  EXPECT_THAT(says("[a"), HasSubstr("a set without an end"));
  EXPECT_THAT(says("a(?#b"), HasSubstr("a comment without an end"));
  EXPECT_THAT(says(R"(\x{41)"), HasSubstr("a name without an end"));
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
}  // namespace lowbank::tokenizers
