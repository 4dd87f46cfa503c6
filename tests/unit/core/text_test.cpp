#include "core/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempFolder;

TEST(TextTest, AByteOrderMarkIsDroppedAndOnlyAtTheStart) {
  const TempFolder folder;
  const std::string bom = "\xEF\xBB\xBF";
  EXPECT_EQ(read_text(folder.file("a", bom + "x" + bom)), "x" + bom);
  EXPECT_EQ(read_text(folder.file("b", bom)), "");
}

TEST(TextTest, EveryKindOfLineEndIsReadAsLf) {
  const TempFolder folder;
  EXPECT_EQ(read_text(folder.file("a", "1\r\n2\r3\n4\r\r\n5\r")), "1\n2\n3\n4\n\n5\n");
}

TEST(TextTest, StretchesJoinToTheText) {
  const TempFolder folder;
  std::string bytes = "\xEF\xBB\xBF";
  for (int i = 0; i < 20000; ++i) bytes += "a\r\n\xC3\xA4\r\xE2\x82\xAC\n\xF0\x9F\x98\x80";
  const std::string path = folder.file("long", bytes);
  for (const std::size_t max_bytes : {1U, 70000U, 1U << 20}) {
    TextReader reader(path);
    std::string text;
    for (std::string some = reader.next(max_bytes); !some.empty(); some = reader.next(max_bytes)) {
      EXPECT_EQ(find_invalid_utf8(some), std::string::npos);
      text += some;
    }
    EXPECT_EQ(text, read_text(path));
  }
  EXPECT_THAT(error_text<IoError>([&] { read_text(folder.file("cut", bytes + "\xE2\x82")); }),
              HasSubstr("not UTF-8 at byte 280003"));
}

TEST(TextTest, InvalidUtf8IsNamedWithItsByteOffset) {
  const TempFolder folder;
  EXPECT_THAT(error_text<IoError>([&] { read_text(folder.file("latin1", "ab\xE4 c")); }),
              ::testing::AllOf(HasSubstr("latin1"), HasSubstr("not UTF-8 at byte 2")));
}

TEST(TextTest, FindsEveryClassOfMalformedUtf8) {
  const auto npos = std::string_view::npos;
  EXPECT_EQ(find_invalid_utf8("plain \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"), npos);
  EXPECT_EQ(find_invalid_utf8("\xF4\x8F\xBF\xBF"), npos);  // U+10FFFF, the last one
  EXPECT_EQ(find_invalid_utf8("\x80"), 0u);                // continuation alone
  EXPECT_EQ(find_invalid_utf8("a\xC0\xAF"), 1u);           // overlong '/'
  EXPECT_EQ(find_invalid_utf8("\xE0\x80\xAF"), 0u);        // overlong, three bytes
  EXPECT_EQ(find_invalid_utf8("\xF0\x80\x80\xAF"), 0u);    // overlong, four bytes
  EXPECT_EQ(find_invalid_utf8("\xED\xA0\x80"), 0u);        // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0u);    // beyond U+10FFFF
  EXPECT_EQ(find_invalid_utf8("ab\xE2\x82"), 2u);          // cut off
  EXPECT_EQ(find_invalid_utf8("\xFF"), 0u);
}

TEST(TextTest, AMissingFileAndAFolderAreNamed) {
  const TempFolder folder;
  EXPECT_THAT(error_text<IoError>([&] { read_text(folder.path("none")); }),
              HasSubstr("/none: cannot open"));
  EXPECT_THAT(error_text<IoError>([&] { read_bytes(folder.path()); }), HasSubstr("is a folder"));
}

TEST(TextTest, LinesEndWithLfAndALastOneWithoutItCounts) {
  EXPECT_THAT(split_lines("a\n\nb\n"), ElementsAre("a", "", "b"));
  EXPECT_THAT(split_lines("a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(split_lines(""), IsEmpty());
}

TEST(TextTest, CodePointsAreCountedAndCutWhole) {
  const std::string text = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80";
  EXPECT_EQ(count_code_points(text), 4);
  EXPECT_EQ(truncate_code_points(text, 0), "");
  EXPECT_EQ(truncate_code_points(text, 2), "a\xC3\xA4");
  EXPECT_EQ(truncate_code_points(text, 4), text);
  EXPECT_EQ(truncate_code_points(text, 99), text);
}

TEST(TextTest, WordsAreSplitByAsciiWhiteSpace) {
  EXPECT_EQ(count_words("  to be,\tor\n\nnot\r\f\vto be "), 6);
  EXPECT_EQ(count_words(" \n"), 0);
}

TEST(TextTest, NumbersAreGroupedForReading) {
  EXPECT_EQ(group_digits(0), "0");
  EXPECT_EQ(group_digits(999), "999");
  EXPECT_EQ(group_digits(1000), "1,000");
  EXPECT_EQ(group_digits(-1234567), "-1,234,567");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1610612736), "1.50 GiB");
}

TEST(TextTest, ForeignTextIsShownOnOneLineAndNotObeyed) {
  EXPECT_EQ(printable("plain \\ text, a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
            "plain \\ text, a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(printable("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
  EXPECT_EQ(printable("two\nlines\r\ttab"), "two\\nlines\\r\\ttab");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\x7F\xC2\x80\xC2\x9B\xC2\x9F\xC2\xA0"),
            "\\u007f\\u0080\\u009b\\u009f\xC2\xA0");
  EXPECT_EQ(printable("a\xE2\x80\xAE"
                      "b\xE2\x80\xA8"),
            "a\\u202eb\\u2028")
      << "text direction and line separators";
}

TEST(TextTest, BytesThatAreNotUtf8AreShownAsBytes) {
  EXPECT_EQ(printable("a\x9B"
                      "1m\xFF"),
            "a\\x9b1m\\xff");
  EXPECT_EQ(printable("cut \xE2\x82"), "cut \\xe2\\x82");
}

TEST(TextTest, ALineOfJsonKeepsItsMeaning) {
  const nlohmann::json value = {{"a\x1b\n\x7F", "\xC2\x9B\xE2\x80\xA8"}};
  EXPECT_EQ(nlohmann::json::parse(printable(value.dump())), value);
}

TEST(TextTest, CellsAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(csv_field("plain text"), "plain text");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"x\"\n"), "\"say \"\"x\"\"\n\"");
}

TEST(TextTest, NoCellIsAFormulaAndNumbersStayNumbers) {
  for (const std::string start : {"=", "+", "-", "@", "\t", "\xEF\xBC\x9D"}) {
    EXPECT_EQ(csv_field(start + "SUM(A1)"), "'" + start + "SUM(A1)");
  }
  EXPECT_EQ(csv_field("=HYPERLINK(\"x\",1)"), "\"'=HYPERLINK(\"\"x\"\",1)\"");
  EXPECT_EQ(csv_field("\r=1"), "\"'\r=1\"");
  for (const std::string number : {"-1.5", "+2", "-3e-7", "0", "-.5"}) {
    EXPECT_EQ(csv_field(number), number);
  }
  EXPECT_EQ(csv_field("-1+1"), "'-1+1");
  EXPECT_EQ(csv_field("-inf"), "'-inf");
  EXPECT_EQ(csv_field("a=b"), "a=b");
}

// xxHash's own sanity checks: XXH3_128bits of no bytes with seed 0.
TEST(HashTest, IsXxh3With128Bits) { EXPECT_EQ(hash_bytes(""), "99aa06d3014798d86001c324468d497f"); }

TEST(HashTest, AFileHashesLikeItsBytes) {
  const TempFolder folder;
  std::string bytes(3'000'001, 'x');
  bytes[1 << 20] = 'y';
  EXPECT_EQ(hash_file(folder.file("big", bytes)), hash_bytes(bytes));
  EXPECT_NE(hash_bytes(bytes), hash_bytes(std::string(3'000'001, 'x')));
  EXPECT_THAT(error_text<IoError>([&] { hash_file(folder.path("none")); }), HasSubstr("none"));
  EXPECT_THAT(error_text<IoError>([&] { hash_file(folder.path()); }), HasSubstr("cannot read"));
}

}  // namespace
}  // namespace lowbank
