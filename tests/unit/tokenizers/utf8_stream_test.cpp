#include "tokenizers/utf8_stream.h"

#include <gtest/gtest.h>

#include "core/text.h"

namespace lowbank::tokenizers {
namespace {

TEST(Utf8Stream, NeverGivesHalfACharacterHoweverTheTextIsCut) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x91\xA9\xED\x9F\xBF\xF4\x8F\xBF\xBFz";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    Utf8Stream stream;
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += step) {
      const std::string part = stream.push(text.substr(at, step));
      EXPECT_EQ(find_invalid_utf8(part), std::string::npos);
      out += part;
    }
    EXPECT_EQ(out + stream.finish(), text);
  }
}

TEST(Utf8Stream, HoldsBackOnlyWhatMayStillBecomeACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ab"), "ab");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.push("\xAC"), "\xE2\x82\xAC");
  EXPECT_EQ(stream.push("\xF4"), "");
  EXPECT_EQ(stream.push("\x8F"), "");
  EXPECT_EQ(stream.push("!"), "\xEF\xBF\xBD\xEF\xBF\xBD!");
}

TEST(Utf8Stream, ReplacesEachByteThatIsNoText) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xFFx\x80"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(ReplaceInvalidUtf8, PutsOneSignForEachStartOfACharacter) {
  const std::string sign = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("a\xE2\x82z"), "a" + sign + "z");
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x91"), sign);
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), sign + sign + sign);  // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xFF"), sign + sign + sign);
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82\xE2\x82\xAC"), sign + "\xE2\x82\xAC");
}

}  // namespace
}  // namespace lowbank::tokenizers
