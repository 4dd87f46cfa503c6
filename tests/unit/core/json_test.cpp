#include "core/json.h"

#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "error_text.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string parse_error_text(const std::string& text, bool comments = false) {
  return testing::error_text<IoError>([&] { parse_json(text, "f.json", comments); });
}

TEST(JsonTest, ReadsEveryKindOfValueInTheOrderOfTheFile) {
  const std::string text =
      R"({"z": [1, -2, 2.5, true, null], "a": {"b": "\u00e4", "c": []}, "m": {}})";
  const Json value = parse_json(text, "f");
  EXPECT_EQ(value, Json::parse(text));
  EXPECT_EQ(value.begin().key(), "z");
  EXPECT_EQ(parse_json(" 18446744073709551615 ", "f").get<std::uint64_t>(), UINT64_MAX);
}

TEST(JsonTest, AKeyThatStandsTwiceIsAnErrorInItsOwnObjectOnly) {
  EXPECT_THAT(parse_error_text(R"({"a": 1, "b": 2, "a": 3})"),
              AllOf(HasSubstr("f.json"), HasSubstr("'a' stands twice")));
  EXPECT_EQ(parse_error_text(R"({"a": {"a": [{"a": 1}, {"a": 2}]}, "b": {"a": 1}})"), "no error");
}

TEST(JsonTest, NestingIsLimited) {
  EXPECT_EQ(parse_error_text(std::string(64, '[') + std::string(64, ']')), "no error");
  EXPECT_THAT(parse_error_text(std::string(65, '[') + std::string(65, ']')),
              HasSubstr("64 levels"));
  EXPECT_THAT(parse_error_text(std::string(10'000'000, '[')), HasSubstr("64 levels"));
}

TEST(JsonTest, CommentsAreForRecipesOnly) {
  const std::string text = "// one\n{\"a\": /* two */ 1}";
  EXPECT_EQ(parse_json(text, "f", /*allow_comments=*/true)["a"], 1);
  EXPECT_THAT(parse_error_text(text), HasSubstr("f.json"));
}

TEST(JsonTest, ASyntaxErrorGivesLineAndColumnOnOneLine) {
  const std::string message = parse_error_text("{\n  \"a\": 1,\n}");
  EXPECT_THAT(message, AllOf(HasSubstr("f.json: parse error at line 3, column 1"),
                             ::testing::Not(HasSubstr("\n"))));
  EXPECT_THAT(parse_error_text(""), HasSubstr("f.json"));
  EXPECT_THAT(parse_error_text("{} x"), HasSubstr("f.json"));
  EXPECT_THAT(parse_error_text("1e999"), HasSubstr("f.json"));
  EXPECT_THAT(parse_error_text("\"\xFF\""), HasSubstr("f.json"));
}

TEST(JsonTest, ManyKeysAreReadInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += "\"token" + std::to_string(i) + "\":0,";
  text.back() = '}';
  const std::clock_t start = std::clock();
  EXPECT_EQ(parse_json(text, "f").size(), 100'000u);
  // About 0.1 s of processor time; a search through all earlier keys for each takes half a minute.
  EXPECT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC);
}

TEST(JsonTest, WhatIsWrittenReadsBack) {
  const Json value = {{"b", 0.1}, {"a", {1, 2}}};
  EXPECT_EQ(parse_json(dump_json(value), "f"), value);
  EXPECT_EQ(dump_json(Json::object()), "{}\n");
}

}  // namespace
}  // namespace lowbank
