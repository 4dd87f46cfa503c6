#include "pim/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "pim_samples.h"
#include "temp_folder.h"

namespace lowbank::pim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Json sample_json() { return Json::parse(workload_to_json(testing::sample_workload({.rank = 7}))); }

// The error of reading `document`, as "exit code: message"; "" if it is read.
std::string workload_error(const Json& document) {
  try {
    workload_from_json(document.dump(), "w.json");
    return "";
  } catch (const Error& e) {
    return std::to_string(e.exit_code()) + ": " + e.what();
  }
}

TEST(WorkloadTest, WhatIsWrittenIsReadBackWithEveryField) {
  const std::string text = workload_to_json(testing::sample_workload({.rank = 7}));
  const lowbank::testing::TempFolder folder;
  const Workload back = read_workload(folder.file("workload.json", text));
  EXPECT_EQ(workload_to_json(back), text);
  EXPECT_EQ(back.decode.size(), 1 + 2 * (2 * 7 + 6) + 2);
  EXPECT_EQ(back.decode[2].factored_as, "svd");
  EXPECT_EQ(back.decode[2].rank, 7);
  EXPECT_EQ(back.decode[3].stage, 1);
  EXPECT_EQ(back.decode[3].k, 7);
}

TEST(WorkloadTest, APhaseThatWasNotExportedStaysEmpty) {
  Json document = sample_json();
  document.erase("prefill");
  EXPECT_TRUE(workload_from_json(document.dump(), "w.json").prefill.empty());
  document.erase("decode");
  EXPECT_THAT(workload_error(document), HasSubstr("no operators"));
}

TEST(WorkloadTest, AbsurdShapesAreConfigErrorsThatNameOperatorAndKey) {
  const auto with = [](const char* key, const Json& value) {
    Json document = sample_json();
    document["decode"][1][key] = value;
    return workload_error(document);
  };
  const auto names = [](const char* key) {
    return AllOf(::testing::StartsWith("2: "), HasSubstr("decode[1]"), HasSubstr("input_layernorm"),
                 HasSubstr(std::string(key) + ":"));
  };
  EXPECT_THAT(with("m", -5), names("m"));
  EXPECT_THAT(with("n", 0), names("n"));
  EXPECT_THAT(with("k", 3), names("k"));  // a norm has no contraction
  EXPECT_THAT(with("count", 0), names("count"));
  EXPECT_THAT(with("layer", 2), names("layer"));  // of 2 layers
  EXPECT_THAT(with("n", 18446744073709551615ULL), names("n"));
  EXPECT_THAT(with("weight_bytes", -1), names("weight_bytes"));
  EXPECT_THAT(with("kind", "nrom"), AllOf(names("kind"), HasSubstr("did you mean 'norm'")));
}

TEST(WorkloadTest, ProductsBeyond63BitsAreRefused) {
  Json document = sample_json();
  document["decode"].back()["m"] = std::int64_t{1} << 30;
  document["decode"].back()["n"] = std::int64_t{1} << 30;
  EXPECT_THAT(workload_error(document), AllOf(HasSubstr("lm_head"), HasSubstr("63 bits")));

  document = sample_json();  // each product fits, their sum does not
  for (int i = 0; i < 3; ++i) {
    Json op = document["decode"].back();
    op["m"] = std::int64_t{1} << 31;
    op["n"] = std::int64_t{1} << 31;
    op["k"] = 1;
    document["decode"].push_back(op);
  }
  EXPECT_THAT(workload_error(document), HasSubstr("the sum of"));

  document = sample_json();
  document["batch"] = std::int64_t{1} << 33;
  document["context"] = std::int64_t{1} << 33;
  EXPECT_THAT(workload_error(document), HasSubstr("batch x context"));
}

TEST(WorkloadTest, ZeroBatchAndNewerRevisionsAreConfigErrors) {
  Json document = sample_json();
  document["batch"] = 0;
  EXPECT_THAT(workload_error(document), AllOf(::testing::StartsWith("2: "), HasSubstr("batch")));
  document = sample_json();
  document["revision"] = 3;
  EXPECT_THAT(workload_error(document), AllOf(::testing::StartsWith("2: "), HasSubstr("revision"),
                                              HasSubstr("up to revision 2")));
  document["revision"] = 1;
  EXPECT_EQ(workload_error(document), "");
}

TEST(WorkloadTest, HeadsThatShareACacheDivideTheCountOfAnAttentionProduct) {
  Json document = sample_json();
  const auto find = [&](const char* kind) -> Json& {
    return *std::find_if(document["decode"].begin(), document["decode"].end(),
                         [&](const Json& op) { return op["kind"] == kind; });
  };
  EXPECT_FALSE(find("score").contains("queries_per_cache"));
  find("score")["queries_per_cache"] = 4;
  find("attend")["queries_per_cache"] = 8;
  const Workload workload = workload_from_json(document.dump(), "w.json");
  EXPECT_EQ(Json::parse(workload_to_json(workload)), document);
  find("score")["queries_per_cache"] = 3;  // of 8 heads
  EXPECT_THAT(workload_error(document), AllOf(::testing::StartsWith("2: "), HasSubstr("score'"),
                                              HasSubstr("queries_per_cache: must divide count")));
  find("score")["queries_per_cache"] = 4;
  find("softmax")["queries_per_cache"] = 4;
  EXPECT_THAT(workload_error(document), HasSubstr("on a score or attend"));
}

TEST(WorkloadTest, UnknownKeysAreRefusedWithASuggestion) {
  Json document = sample_json();
  document["contxt"] = 5;
  EXPECT_THAT(workload_error(document),
              AllOf(::testing::StartsWith("2: "), HasSubstr("'context'")));
  document = sample_json();
  document["decode"][0]["wieght_bytes"] = 5;
  EXPECT_THAT(workload_error(document), HasSubstr("did you mean 'weight_bytes'"));
}

TEST(WorkloadTest, TheTwoProductsOfAFactoredLayerMustStandTogether) {
  Json document = sample_json();
  document["decode"].erase(3);
  EXPECT_THAT(workload_error(document), HasSubstr("stage 0 then stage 1"));
  document = sample_json();
  document["decode"][3]["rank"] = 6;
  EXPECT_THAT(workload_error(document),
              HasSubstr("rank: stage 1 must have k = rank; got 7 and rank 6"));
  document = sample_json();
  document["decode"][2]["factored_as"] = "qr";
  EXPECT_THAT(workload_error(document), HasSubstr("factored_as"));
}

TEST(WorkloadTest, TheStagesOfATiledLayerTellOfTheSameTiles) {
  const Workload workload = testing::tiled_workload({.in = 96, .out = 64, .tile = 16, .rank = 3});
  const Json document = Json::parse(workload_to_json(workload));
  EXPECT_EQ(document["decode"][0]["tile"], 16);
  EXPECT_EQ(Json::parse(workload_to_json(workload_from_json(document.dump(), "w.json"))), document);
  const auto with = [&](std::size_t place, const char* key, std::int64_t value) {
    Json changed = document;
    changed["decode"][place][key] = value;
    return workload_error(changed);
  };
  EXPECT_THAT(with(0, "tile", 32), HasSubstr("stage 0 must have k = tile"));
  EXPECT_THAT(with(1, "n", 32), HasSubstr("stage 1 must have n = tile"));
  EXPECT_THAT(with(0, "n", 13), HasSubstr("a multiple of rank"));
  EXPECT_THAT(with(0, "count", 5), HasSubstr("must tell of the same tiles"));
  EXPECT_THAT(with(1, "count", 5), HasSubstr("must tell of the same tiles"));
  Json mixed = document;
  mixed["decode"][1]["factored_as"] = "svd";
  EXPECT_NE(workload_error(mixed), "");
  mixed = document;
  mixed["decode"][0].erase("tile");
  EXPECT_THAT(workload_error(mixed), HasSubstr("'tile' is missing"));
}

TEST(WorkloadTest, OnlyALinearWithBytesHasAWeightFormat) {
  Json document = sample_json();
  document["decode"][2]["weight_format"] = "q4_0";
  const Workload workload = workload_from_json(document.dump(), "w.json");
  EXPECT_EQ(workload.decode[2].weight_format, "q4_0");
  EXPECT_EQ(Json::parse(workload_to_json(workload)), document);
  document["decode"][2]["weight_bytes"] = 0;
  EXPECT_THAT(workload_error(document), HasSubstr("weight_format: must be a name"));
  for (const std::string& text : {std::string(), std::string(33, 'q')}) {
    document = sample_json();
    document["decode"][2]["weight_format"] = text;
    EXPECT_THAT(workload_error(document), HasSubstr("weight_format: must be a name")) << text;
  }
  document = sample_json();
  document["decode"][1]["weight_format"] = "int8";  // a norm
  EXPECT_THAT(workload_error(document), HasSubstr("on a linear"));
}

TEST(WorkloadTest, CorruptFilesAreIoErrors) {
  EXPECT_THROW(read_workload("/nonexistent/workload.json"), IoError);
  const std::string text = sample_json().dump();
  for (const std::size_t length : {std::size_t{0}, text.size() / 3, text.size() - 1}) {
    EXPECT_THROW(workload_from_json(text.substr(0, length), "w.json"), IoError) << length;
  }
  EXPECT_THROW(workload_from_json("[1, 2]", "w.json"), IoError);
  EXPECT_THROW(workload_from_json(R"({"format": "other"})", "w.json"), IoError);
  Json document = sample_json();
  document["decode"][1]["m"] = "many";
  EXPECT_THAT(workload_error(document),
              AllOf(::testing::StartsWith("3: "), HasSubstr("whole number")));
  document = sample_json();
  document["decode"][1].erase("n");
  EXPECT_THAT(workload_error(document),
              AllOf(::testing::StartsWith("3: "), HasSubstr("'n' is missing")));
}

}  // namespace
}  // namespace lowbank::pim
