#include "core/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_text.h"

namespace lowbank {
namespace {

using testing::error_text;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(RegexTest, IsSearchedAnywhere) {
  const Regex attention(R"(self_attn\.[qk]_proj$)");
  EXPECT_TRUE(attention.is_in("model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(attention.is_in("model.layers.0.self_attn.v_proj"));
  EXPECT_FALSE(attention.is_in("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(Regex("").is_in(""));
}

TEST(RegexTest, FindsMatchesOneAfterTheOther) {
  const Regex number("[0-9]+");
  const std::string text = "a12b345";
  std::size_t begin = 0;
  std::size_t end = 0;
  ASSERT_TRUE(number.find(text, 0, begin, end));
  EXPECT_EQ(text.substr(begin, end - begin), "12");
  ASSERT_TRUE(number.find(text, end, begin, end));
  EXPECT_EQ(text.substr(begin, end - begin), "345");
  EXPECT_FALSE(number.find(text, end, begin, end));
}

TEST(RegexTest, LettersAreThoseOfUnicode) {
  EXPECT_TRUE(Regex(R"(^\w$)").is_in("\u00e4"));
  EXPECT_TRUE(Regex("(?i)^\u00e4$").is_in("\u00c4"));
}

TEST(RegexTest, LineEndsCountWhereAsked) {
  EXPECT_FALSE(Regex("^b").is_in("a\nb"));
  EXPECT_TRUE(Regex("^b", {.is_multiline = true}).is_in("a\nb"));
}

TEST(RegexTest, AnErrorNamesThePatternTheReasonAndThePlace) {
  EXPECT_EQ(error_text<RegexError>([] { Regex("ab("); }),
            "'ab(' is no regular expression: missing closing parenthesis at byte 3");
  EXPECT_THAT(error_text<ConfigError>([] { Regex("a[b"); }), HasSubstr("at byte 3"));
  EXPECT_THAT(error_text<ConfigError>([] { Regex("\xff"); }), HasSubstr("UTF-8 error"));
}

TEST(RegexTest, AMatchThatNeverEndsIsAnError) {
  const Regex nested("(a|aa)+$");
  EXPECT_THAT(error_text<ResourceError>([&] { nested.is_in(std::string(80, 'a') + "b"); }),
              StartsWith("cannot match the pattern at byte 0 of the text: match limit exceeded"));
}

}  // namespace
}  // namespace lowbank
