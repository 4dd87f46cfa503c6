#include "core/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "error_text.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using Blame = JsonRules::Blame;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Json kDocument = {{"name", "n"},
                        {"empty", ""},
                        {"none", nullptr},
                        {"on", true},
                        {"size", 7},
                        {"huge", std::numeric_limits<std::uint64_t>::max()},
                        {"half", 0.5},
                        {"layers", {{{"rank", 3}}, {{"rank", -1}}}},
                        {"rope", {{"factor", 2}}}};

JsonReader reader(JsonRules rules = {}) { return {kDocument, "f.json", rules}; }

template <class Action>
std::string fault(Action action, JsonRules rules = {}) {
  return testing::error_text<ConfigError>([&] { action(reader(rules)); });
}

TEST(JsonReaderTest, ValuesAreReadByTheirKeys) {
  const JsonReader r = reader();
  EXPECT_EQ(r.text("name"), "n");
  EXPECT_TRUE(r.flag("on"));
  EXPECT_EQ(r.integer("size", 1, 10), 7);
  EXPECT_EQ(r.number("half"), 0.5);
  EXPECT_EQ(r.number("size", 0, 10), 7.0);
  EXPECT_EQ(r.positive("half", 1), 0.5);
  EXPECT_EQ(r.choice("name", std::vector<std::string>{"m", "n"}), 1u);
  EXPECT_EQ(r.group("rope").integer("factor", 1, 9), 2);
  EXPECT_EQ(r.items("layers").at(0).integer("rank", 0, 9), 3);
  ASSERT_EQ(r.group("rope").members().size(), 1u);
  const auto [key, factor] = r.group("rope").members()[0];
  EXPECT_EQ(key, "factor");
  EXPECT_EQ(factor.where(), "f.json: rope.factor");
}

TEST(JsonReaderTest, AnAbsentKeyTakesTheValueForThatCase) {
  const JsonReader r = reader();
  EXPECT_EQ(r.text("x", "y"), "y");
  EXPECT_EQ(r.flag("x", true), true);
  EXPECT_EQ(r.integer("x", -5, 1, 10), -5) << "the range is of what the document holds";
  EXPECT_EQ(r.number("x", 2.5), 2.5);
  EXPECT_EQ(r.positive("x", -1), -1);
  EXPECT_TRUE(r.items("x").empty());
  EXPECT_FALSE(r.find("x").has_value());
  EXPECT_FALSE(r.group("x").has("y"));
}

TEST(JsonReaderTest, NullIsAbsentOrAWrongTypeAsTheRulesSay) {
  EXPECT_EQ(reader().text("none", "y"), "y");
  EXPECT_EQ(fault([](const JsonReader& r) { r.text("none"); }), "f.json: key 'none' is missing");
  EXPECT_EQ(fault([](const JsonReader& r) { r.text("none", "y"); }, {.null_is_absent = false}),
            "f.json: none: must be a string; got null");
}

TEST(JsonReaderTest, AFaultIsOneLineWithFileKeysValueAndWhatIsAllowed) {
  const auto expect = [](auto action, const std::string& line) { EXPECT_EQ(fault(action), line); };
  expect([](const JsonReader& r) { r.text("size"); }, "f.json: size: must be a string; got 7");
  expect([](const JsonReader& r) { r.nonempty_text("empty"); },
         "f.json: empty: must be a string that is not empty");
  expect([](const JsonReader& r) { r.flag("size"); }, "f.json: size: must be true or false; got 7");
  expect([](const JsonReader& r) { r.integer("half", 1, 10); },
         "f.json: half: must be a whole number in [1, 10]; got 0.5");
  expect([](const JsonReader& r) { r.at("half").integer(); },
         "f.json: half: must be a whole number; got 0.5");
  expect([](const JsonReader& r) { r.integer("size", 8, INT64_MAX); },
         "f.json: size: must be a whole number >= 8; got 7");
  expect([](const JsonReader& r) { r.at("huge").integer(); },
         "f.json: huge: must be a whole number; got 18446744073709551615");
  expect([](const JsonReader& r) { r.number("name"); },
         "f.json: name: must be a number; got \"n\"");
  expect([](const JsonReader& r) { r.number("half", 1, 2); },
         "f.json: half: must be a number in [1, 2]; got 0.5");
  expect([](const JsonReader& r) { r.group("rope").positive("x", 1); }, "no error");
  expect([](const JsonReader& r) { r.group("size"); },
         "f.json: size: must be a JSON object; got 7");
  expect([](const JsonReader& r) { r.items("rope"); },
         "f.json: rope: must be a list; got {\"factor\":2}");
  expect([](const JsonReader& r) { r.at("layers").at(2); },
         "f.json: layers: must have more than 2 elements");
  expect([](const JsonReader& r) { r.items("layers")[1].integer("rank", 0, 9); },
         "f.json: layers[1].rank: must be a whole number in [0, 9]; got -1");
  expect([](const JsonReader& r) { r.at("layers").at(1).named("q").integer("rank", 0, 9); },
         "f.json: layers[1] 'q': rank: must be a whole number in [0, 9]; got -1");
  expect([](const JsonReader& r) { r.group("rope").refuse("factor", "1"); },
         "f.json: rope.factor is 2; supported: 1");
  expect([](const JsonReader& r) { r.refuse("x", "1"); }, "f.json: x is absent; supported: 1");
  expect(
      [](const JsonReader& r) {
        r.choice("name", std::vector<std::string>{"nn", "m"});
      },
      "f.json: name: must be one of nn, m; got 'n'");
}

TEST(JsonReaderTest, AKeyThatNobodyKnowsIsAnErrorWithTheNearestOrAll) {
  EXPECT_EQ(fault([](const JsonReader& r) {
              r.group("rope").check_keys({"factr", "theta"});
            }),
            "f.json: rope: unknown key 'factor'; did you mean 'factr'?");
  EXPECT_EQ(fault([](const JsonReader& r) {
              r.group("rope").check_keys({"b", "theta"});
            }),
            "f.json: rope: unknown key 'factor'; known: b, theta");
  reader().group("rope").check_keys({"theta", "factor"});
}

TEST(JsonReaderTest, ALongValueIsShortened) {
  const Json long_value = {{"a", std::string(1000, 'x')}};
  const std::string line = testing::error_text<ConfigError>(
      [&] { JsonReader(long_value, "f.json").integer("a", 0, 1, 2); });
  EXPECT_THAT(line, StartsWith("f.json: a: must be a whole number in [1, 2]; got \"xxx"));
  EXPECT_THAT(line, HasSubstr("xxx..."));
  EXPECT_LT(line.size(), 120u);
}

TEST(JsonReaderTest, TheKindOfErrorIsChosenOnceForTheDocument) {
  const auto missing = [](const JsonReader& r) { r.text("x"); };
  const auto wrong_type = [](const JsonReader& r) { r.integer("name", 1, 2); };
  const auto out_of_range = [](const JsonReader& r) { r.integer("size", 1, 2); };
  const auto unknown = [](const JsonReader& r) { r.check_keys({"name"}); };
  for (const auto blame : {Blame::kUser, Blame::kFile, Blame::kFileThenUser}) {
    const JsonReader r = reader({.blame = blame});
    if (blame == Blame::kUser) {
      EXPECT_THROW(missing(r), ConfigError);
      EXPECT_THROW(wrong_type(r), ConfigError);
    } else {
      EXPECT_THROW(missing(r), IoError);
      EXPECT_THROW(wrong_type(r), IoError);
    }
    if (blame == Blame::kFile) {
      EXPECT_THROW(out_of_range(r), IoError);
      EXPECT_THROW(unknown(r), IoError);
    } else {
      EXPECT_THROW(out_of_range(r), ConfigError);
      EXPECT_THROW(unknown(r), ConfigError);
    }
  }
}

TEST(JsonReaderTest, AReaderKeepsWhatItWasGivenToKeep) {
  const auto inner = [] {
    return JsonReader(parse_json(R"({"a": {"b": [1, 2]}})", "f"), "f.json").group("a");
  }();
  EXPECT_EQ(inner.at("b").at(1).integer(), 2);
}

}  // namespace
}  // namespace lowbank
