#include "config/field.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "error_text.h"
#include "sample_config.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::SampleConfig;
using testing::TempFolder;

class FieldTest : public ::testing::Test {
 protected:
  void set_json(const std::string& text) {
    apply_json(config, parse_json(text, "r.json"), "r.json");
  }
  void set_text(const std::string& key, const std::string& text) { apply_text(config, key, text); }
  std::string json_error(const std::string& text) {
    return error_text<ConfigError>([&] { set_json(text); });
  }
  std::string text_error(const std::string& key, const std::string& text) {
    return error_text<ConfigError>([&] { set_text(key, text); });
  }
  SampleConfig config;
  Fields fields = config.fields();
};

TEST_F(FieldTest, EveryKindOfValueIsReadFromJson) {
  set_json(R"({"input": "a", "steps": 7, "learning_rate": 1e-3, "greedy": true,
               "method": "tile_svd", "fracs": [0.5, 1], "names": ["x", "y"],
               "noise": {"sigma": 2, "encoding": "gray"}, "seed": 4})");
  EXPECT_EQ(config.input, "a");
  EXPECT_EQ(config.steps, 7);
  EXPECT_EQ(config.learning_rate, 1e-3);
  EXPECT_TRUE(config.greedy);
  EXPECT_EQ(config.method, "tile_svd");
  EXPECT_THAT(config.fracs, ElementsAre(0.5, 1.0));
  EXPECT_THAT(config.names, ElementsAre("x", "y"));
  EXPECT_EQ(config.sigma, 2);
  EXPECT_EQ(config.encoding, "gray");
  EXPECT_EQ(config.common.seed, 4);
}

TEST_F(FieldTest, EveryKindOfValueIsReadFromText) {
  set_text("input", "a b,c");
  set_text("steps", "7");
  set_text("learning_rate", "1e-3");
  set_text("greedy", "true");
  set_text("fracs", "0,0.25,1");
  set_text("names", "x,y");
  set_text("noise.encoding", "gray");
  EXPECT_EQ(config.input, "a b,c");
  EXPECT_EQ(config.steps, 7);
  EXPECT_EQ(config.learning_rate, 1e-3);
  EXPECT_TRUE(config.greedy);
  EXPECT_THAT(config.fracs, ElementsAre(0.0, 0.25, 1.0));
  EXPECT_THAT(config.names, ElementsAre("x", "y"));
  EXPECT_EQ(config.encoding, "gray");
}

TEST_F(FieldTest, AListMayBeOneValueOrEmptyOrJson) {
  set_json(R"({"fracs": 0.5, "names": "x"})");
  EXPECT_THAT(config.fracs, ElementsAre(0.5));
  EXPECT_THAT(config.names, ElementsAre("x"));
  set_text("names", R"(["a,b", "c"])");
  EXPECT_THAT(config.names, ElementsAre("a,b", "c"));
  set_text("names", "");
  EXPECT_TRUE(config.names.empty());
}

TEST_F(FieldTest, AnEmptyPathInAListIsRefused) {
  EXPECT_EQ(json_error(R"({"files": ["a", ""]})"),
            "r.json: files: wants paths or names; entry 2 of the list is empty");
  EXPECT_THAT(text_error("files", "a,,b"), HasSubstr("entry 2 of the list is empty"));
  set_json(R"({"files": ""})");
  EXPECT_TRUE(config.files.empty()) << "as on the command line: none is given";
}

TEST_F(FieldTest, ARegularExpressionInBracketsIsNoJson) {
  set_text("names", "[qk]_proj$");
  EXPECT_THAT(config.names, ElementsAre("[qk]_proj$"));
}

TEST_F(FieldTest, AnUnknownKeyIsNamedWithASuggestion) {
  EXPECT_EQ(json_error(R"({"lerning_rate": 1})"),
            "r.json: unknown key 'lerning_rate'; did you mean 'learning_rate'?");
  EXPECT_EQ(json_error(R"({"noise": {"sgima": 1}})"),
            "r.json: unknown key 'noise.sgima'; did you mean 'sigma'?");
  EXPECT_EQ(text_error("noise.sgima", "1"),
            "unknown key 'noise.sgima'; did you mean 'noise.sigma'?");
  EXPECT_EQ(json_error(R"({"zzzzzzzz": 1})"), "r.json: unknown key 'zzzzzzzz'");
}

TEST_F(FieldTest, AWrongTypeIsNamedWithWhatIsWanted) {
  EXPECT_EQ(json_error(R"({"steps": "7"})"),
            "r.json: steps: wants a whole number, in [1, 100] steps; got \"7\"");
  EXPECT_EQ(json_error(R"({"steps": 7.5})"),
            "r.json: steps: wants a whole number, in [1, 100] steps; got 7.5");
  EXPECT_THAT(json_error(R"({"learning_rate": true})"), HasSubstr("wants a number, in (0, 1)"));
  EXPECT_THAT(json_error(R"({"greedy": 1})"), HasSubstr("wants true or false; got 1"));
  EXPECT_THAT(json_error(R"({"input": 1})"), HasSubstr("wants a string"));
  EXPECT_THAT(json_error(R"({"fracs": ["x"]})"), HasSubstr("wants a list of numbers"));
  EXPECT_THAT(json_error(R"({"names": [1]})"), HasSubstr("wants a list of strings"));
  EXPECT_THAT(json_error(R"({"noise": 3})"), HasSubstr("noise wants an object; got 3"));
  EXPECT_THAT(json_error("[1]"), HasSubstr("the recipe wants an object"));
  EXPECT_THAT(json_error(R"({"seed": 18446744073709551615})"), HasSubstr("seed: wants"));
  EXPECT_THAT(text_error("steps", "7x"), HasSubstr("steps: wants a whole number"));
  EXPECT_THAT(text_error("greedy", "yes"), HasSubstr("greedy: wants true or false; got 'yes'"));
  EXPECT_THAT(text_error("fracs", "0,,1"), HasSubstr("fracs: wants a list of numbers"));
  EXPECT_THAT(text_error("input", "\xFF"), HasSubstr("input: is not UTF-8"));
}

TEST_F(FieldTest, AValueOutOfRangeIsNamedWithTheRange) {
  EXPECT_THAT(json_error(R"({"steps": 0})"), HasSubstr("in [1, 100] steps; got 0"));
  EXPECT_THAT(json_error(R"({"steps": 101})"), HasSubstr("got 101"));
  EXPECT_THAT(json_error(R"({"learning_rate": 0})"), HasSubstr("in (0, 1); got 0"));
  EXPECT_THAT(json_error(R"({"learning_rate": 1.0})"), HasSubstr("got 1"));
  EXPECT_THAT(json_error(R"({"fracs": [0.5, 1.5]})"), HasSubstr("got 1.5"));
  EXPECT_THAT(text_error("noise.sigma", "nan"), HasSubstr("got nan"));
  EXPECT_THAT(text_error("noise.sigma", "inf"), HasSubstr("got inf"));
  EXPECT_EQ(json_error(R"({"method": "svdd"})"),
            "r.json: method: 'svdd' is not one of svd, tile_svd; did you mean 'svd'?");
  EXPECT_EQ(config.steps, 10) << "a refused value must not be stored";
}

TEST_F(FieldTest, AGroupMayStandInAFileOfItsOwn) {
  const TempFolder folder;
  const std::string path =
      folder.file("noise.json", R"({"source": "a book", "about": "x", /* comment */ "sigma": 3})");
  set_json(R"({"noise": ")" + path + R"("})");
  EXPECT_EQ(config.sigma, 3);
  EXPECT_EQ(config.encoding, "plain") << "keys that the file leaves out keep their values";
  set_text("noise.sigma", "4");
  set_text("noise", path);
  EXPECT_EQ(config.sigma, 3);

  const std::string wrong = folder.file("wrong.json", R"({"sgima": 3})");
  EXPECT_EQ(text_error("noise", wrong), wrong + ": unknown key 'sgima'; did you mean 'sigma'?");
  EXPECT_THAT(json_error(R"({"noise": {"source": "x"}})"), HasSubstr("unknown key 'noise.source'"));
  EXPECT_THAT(error_text<IoError>([&] { set_text("noise", folder.path("none.json")); }),
              HasSubstr("none.json"));
}

TEST_F(FieldTest, WhatIsWrittenReadsBack) {
  set_json(R"({"input": "a", "fracs": [], "names": ["x"], "noise": {"sigma": 0.3}})");
  const auto written = to_json(fields);
  SampleConfig other;
  apply_json(other, written, "w");
  EXPECT_EQ(to_json(other.fields()), written);
  EXPECT_EQ(other.sigma, 0.3);
}

TEST_F(FieldTest, OnlyPathsThatAreReadAndGivenAreReplaced) {
  set_json(R"({"input": "a", "files": ["b", "c"], "method": "svd", "out": "o"})");
  std::vector<std::string> keys;
  replace_inputs(config, [&](const std::string& key, const std::string& path) {
    keys.push_back(key);
    return "new/" + path;
  });
  EXPECT_EQ(config.input, "new/a");
  EXPECT_THAT(config.files, ElementsAre("new/b", "new/c"));
  EXPECT_EQ(config.common.out, "o");
  EXPECT_EQ(config.method, "svd");
  EXPECT_THAT(keys, ElementsAre("input", "files", "files"));
}

TEST_F(FieldTest, AListOfFieldsTellsThePresentValuesOfAConfigThatIsNotWritten) {
  const SampleConfig& read_only = config;
  EXPECT_EQ(to_json(read_only.fields()), to_json(fields));
  set_text("steps", "7");
  EXPECT_EQ(to_json(fields)["steps"], 7);
}

TEST_F(FieldTest, ARequiredFieldMustBeFilled) {
  EXPECT_EQ(error_text<ConfigError>([&] { check_required(fields); }),
            "input is missing: what is read");
  set_text("input", "a");
  EXPECT_NO_THROW(check_required(fields));
}

TEST_F(FieldTest, RangesReadAsText) {
  double x = 0;
  EXPECT_EQ(Field("a", &x, "").at_least(0).range_text(), ">= 0");
  EXPECT_EQ(Field("a", &x, "").above(0).unit("ns").range_text(), "> 0 ns");
  EXPECT_EQ(Field("a", &x, "").below(1).range_text(), "< 1");
  EXPECT_EQ(Field("a", &x, "").above(0).at_most(1).range_text(), "in (0, 1]");
  EXPECT_EQ(Field("a", &x, "").range_text(), "");
}

}  // namespace
}  // namespace lowbank
