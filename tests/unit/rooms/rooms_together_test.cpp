#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "pim/reference_models.h"
#include "report/runs/report_data.h"
#include "temp_folder.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {
namespace {

constexpr const char* kTokenizer = R"({
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
})";

// Each room reads JSON and decodes tokens with types of its own; one program may use all of them.
TEST(RoomsTogether, EachRoomUsesItsOwnTypes) {
  const auto tokenizer =
      tokenizers::make_json_tokenizer(parse_json(kTokenizer, "small"), "small", {});
  EXPECT_THAT(tokenizer->encode("aab"), ::testing::ElementsAre(0, 2));
  EXPECT_EQ(tokenizer->decode(std::vector<std::int64_t>{0, 2}), "aab");

  testing::TempFolder folder;
  std::filesystem::create_directory(folder.path("run"));
  folder.file("run/resolved.json", R"({"stage": "evaluate", "name": "demo", "checkpoint": "c",
      "data": "valid.txt", "context": 128, "stride": 0, "max_chars": 0, "max_chunks": 0})");
  folder.file("run/metrics.json", R"({"perplexity": 15.5, "num_predicted": 4000, "context": 128})");
  folder.file("run/run.json", R"({"stage": "evaluate", "provenance": "measured",
      "date": "2026-01-31T10:00:00Z", "device": "cpu", "seconds": 1.5})");
  const report::ReportData data = report::read_runs({folder.path("run")});
  ASSERT_EQ(data.evaluations.size(), 1U);
  EXPECT_EQ(data.evaluations[0].perplexity, 15.5);

  const auto decoders = pim::reference_model("retnet-2.7b", 1);
  ASSERT_FALSE(decoders.empty());
  EXPECT_FALSE(decoders[0].operators.empty());
}

}  // namespace
}  // namespace lowbank
