#include "tokenizers/unicode.h"

#include <gtest/gtest.h>

namespace lowbank::tokenizers {
namespace {

std::string normal_form(const std::string& text, NormalForm form) {
  NormalizedStretches stretches(text, form);
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t last = 0;
  std::string part;
  std::string out;
  while (stretches.next(begin, end, part)) {
    EXPECT_EQ(begin, last);
    EXPECT_LT(begin, end);
    last = end;
    out += part.empty() ? text.substr(begin, end - begin) : part;
  }
  EXPECT_EQ(last, text.size());
  return out;
}

TEST(Unicode, CodePointsGoToUtf8AndBack) {
  for (char32_t c = 1; c < 0x110000; c += c < 0x900 ? 1 : 97) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    std::size_t at = 0;
    EXPECT_EQ(next_code_point(text, at), c);
    EXPECT_EQ(at, text.size());
    EXPECT_EQ(previous_code_point(text, at), c);
    EXPECT_EQ(at, 0u);
  }
}

TEST(Unicode, BytesAndTheirCharactersAreOneToOne) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(static_cast<char>(byte));
    EXPECT_EQ(character_to_byte(byte_to_character(static_cast<unsigned char>(byte))), byte);
  }
  std::string back;
  EXPECT_TRUE(characters_to_bytes(bytes_to_characters(all), back));
  EXPECT_EQ(back, all);
  EXPECT_FALSE(characters_to_bytes("a b", back));  // a space has another character
  EXPECT_EQ(bytes_to_characters(" \n"), "\xC4\xA0\xC4\x8A");
}

TEST(Unicode, NormalFormsOrderComposeAndDecompose) {
  const std::string swapped = "q\xCC\x87\xCC\xA3";  // q, dot above, dot below
  EXPECT_EQ(normal_form(swapped, NormalForm::kNfd), "q\xCC\xA3\xCC\x87");
  EXPECT_EQ(normal_form("e\xCC\x81x", NormalForm::kNfc), "\xC3\xA9x");
  EXPECT_EQ(normal_form("\xC3\xA9x", NormalForm::kNfd), "e\xCC\x81x");
  EXPECT_EQ(normal_form("\xEF\xAC\x81", NormalForm::kNfkc), "fi");
  EXPECT_EQ(normal_form("\xEF\xAC\x81", NormalForm::kNfc), "\xEF\xAC\x81");
  // Hangul: three jamo and a syllable.
  EXPECT_EQ(normal_form("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", NormalForm::kNfc), "\xED\x95\x9C");
  EXPECT_EQ(normal_form("\xED\x95\x9C", NormalForm::kNfd), "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB");
}

TEST(Unicode, ANormalFormIsItsOwn) {
  std::string text;
  for (char32_t c = 0x80; c < 0x30000; c += 7) {
    if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
  }
  for (const auto form :
       {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
    const std::string once = normal_form(text, form);
    EXPECT_EQ(normal_form(once, form), once);
    EXPECT_FALSE(is_surely_normal(text, form));
    EXPECT_TRUE(is_surely_normal("plain", form));
  }
}

TEST(Unicode, LowerCaseIsThatOfOneCharacter) {
  const auto lower = [](char32_t c) {
    std::string out;
    append_lower(out, c);
    return out;
  };
  EXPECT_EQ(lower('A'), "a");
  EXPECT_EQ(lower('['), "[");
  EXPECT_EQ(lower(0x130), "i\xCC\x87");
  EXPECT_EQ(lower(0x3A3), "\xCF\x83");            // sigma, at the end of a word too
  EXPECT_EQ(lower(0xA7DC), "\xC6\x9B");           // Unicode 16
  EXPECT_EQ(lower(0x10D50), "\xF0\x90\xB5\xB0");  // Unicode 16
}

TEST(Unicode, ClassesHaveTheAgesOfThePeersTables) {
  EXPECT_TRUE(is_numeric(0xBC));
  EXPECT_TRUE(is_numeric(0x10D40));
  EXPECT_TRUE(is_punctuation('$'));
  EXPECT_FALSE(is_punctuation(0x20AC));  // the euro sign is a symbol
  EXPECT_FALSE(is_punctuation(0x2E52));  // of Unicode 14; BERT's table is of Unicode 8
  EXPECT_TRUE(is_control(0xAD));
  EXPECT_FALSE(is_control('\t'));
  EXPECT_FALSE(is_control(0x378));  // unassigned
  EXPECT_TRUE(is_white_space(0x3000));
  EXPECT_FALSE(is_white_space(0x200B));
  EXPECT_TRUE(is_nonspacing_mark(0x301));
  EXPECT_FALSE(is_nonspacing_mark(0x903));
  EXPECT_TRUE(is_mark(0x903));
  EXPECT_TRUE(is_word('_'));
  EXPECT_FALSE(is_word(' '));
}

}  // namespace
}  // namespace lowbank::tokenizers
