#include "config/results/result_field.h"

#include <cstdint>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/parts/noise_config.h"
#include "config/results/compress_metrics.h"
#include "config/results/convert_metrics.h"
#include "config/results/estimate_result.h"
#include "config/results/experiment_line.h"
#include "config/results/importance_metrics.h"
#include "config/results/noisy_infer_metrics.h"
#include "config/results/perplexity_metrics.h"
#include "config/results/training_metrics.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Gives every value of a result another value than all others.
struct Filler {
  int& next;

  void operator()(bool* value) const { *value = !*value; }
  void operator()(std::optional<bool>* value) const { *value = true; }
  void operator()(Count* value) const { *value = ++next; }
  void operator()(double* value) const { *value = ++next + 0.5; }
  void operator()(std::string* value) const { *value = "text " + std::to_string(++next); }
  void operator()(std::vector<double>* value) const { *value = {++next + 0.25, kNotReported}; }
  void operator()(std::vector<std::string>* value) const {
    *value = {"first " + std::to_string(++next), "second"};
  }
  void operator()(NamedNumbers* value) const { *value = {{"b", ++next + 0.5}, {"a", 0.5}}; }
  void operator()(const ResultField::Group& group) const { fill(group.fields()); }
  void operator()(const ResultField::List& list) const {
    fill(list.add());
    fill(list.add());
  }
  void fill(const ResultFields& fields) const {
    for (const ResultField& field : fields) std::visit(*this, field.target);
  }
};

template <class T>
class ResultTest : public ::testing::Test {};
using Results = ::testing::Types<ConvertMetrics, PerplexityMetrics, TrainingLine, TrainingMetrics,
                                 ImportanceMetrics, CompressMetrics, NoisyInferMetrics,
                                 EstimateResult, ExperimentTask, ExperimentFigures>;
TYPED_TEST_SUITE(ResultTest, Results);

TYPED_TEST(ResultTest, WhatIsWrittenIsReadBack) {
  TypeParam result;
  int next = 0;
  Filler{next}.fill(result.fields());
  const Json written = to_json(result.fields());
  const std::vector<std::string> names = field_keys(result.fields());
  std::vector<std::string> keys;
  for (const auto& [key, value] : written.items()) keys.push_back(key);
  EXPECT_EQ(keys, names) << "each field once, in the order of the list";
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());

  TypeParam read;
  const Json file = parse_json(written.dump(), "metrics.json");
  read_fields(JsonReader(file, "metrics.json", kProgramFile), read.fields());
  EXPECT_EQ(to_json(read.fields()).dump(), written.dump());
}

TEST(ResultFieldTest, ScoresOfHeldOutTextGoByTheNamesOfTheirObjective) {
  TrainingMetrics metrics{.held_out = {{"loss", 3, 2}, {"accuracy", 0.25, 0.5}}, .steps = 7};
  const Json written = to_json(metrics.fields());
  EXPECT_EQ(written["start_valid_loss"], 3.0);
  EXPECT_EQ(written["valid_accuracy"], 0.5);
  TrainingMetrics read{.held_out = {{.name = "accuracy"}, {.name = "perplexity"}}};
  read_fields(JsonReader(written, "metrics.json", kProgramFile), read.fields());
  EXPECT_EQ(read.held_out[0].start, 0.25);
  EXPECT_TRUE(std::isnan(read.held_out[1].end));

  TrainingLine line{.step = 2, .held_out = {{"loss", 3.5}}};
  EXPECT_EQ(to_json(line.fields()).dump(), R"({"step":2,"valid_loss":3.5})");
}

// A report falls back on a run's settings for the noise.
TEST(ResultFieldTest, NoiseHasTheKeysOfItsSettings) {
  const NoiseConfig settings;
  NoiseFigures noise;
  EXPECT_EQ(field_keys(noise.fields()), field_keys(settings.fields()));
}

struct Sample {
  Count count = {};
  double number = kNotReported;
  double rare = kNotReported;
  std::string text = "as it was";
  ResultFields fields() {
    return {ResultField("count", &count).required().positive(),
            {"number", &number},
            ResultField("rare", &rare).left_out(),
            {"text", &text}};
  }
};

void read(const std::string& text, Sample& sample) {
  const Json file = parse_json(text, "file");
  read_fields(JsonReader(file, "file", kProgramFile), sample.fields());
}

std::string read_error(const std::string& text) {
  Sample sample;
  try {
    read(text, sample);
  } catch (const IoError& e) {
    return e.what();
  }
  return "no error";
}

TEST(ResultFieldTest, WhatIsNotReportedIsNullOrLeftOut) {
  Sample sample{.count = 3};
  EXPECT_EQ(to_json(sample.fields()).dump(), R"({"count":3,"number":null,"text":"as it was"})");
  read(R"({"count": 4, "number": null, "other": [1]})", sample);
  EXPECT_EQ(sample.count, 4);
  EXPECT_TRUE(std::isnan(sample.number));
  EXPECT_EQ(sample.text, "as it was");
}

TEST(ResultFieldTest, CountsAreExactWholeNumbers) {
  constexpr std::int64_t kBeyondDouble = (std::int64_t{1} << 53) + 1;
  Sample sample{.count = kBeyondDouble};
  const std::string written = to_json(sample.fields()).dump();
  EXPECT_THAT(written, HasSubstr("9007199254740993"));
  Sample again;
  read(written, again);
  EXPECT_EQ(again.count.value(), kBeyondDouble);
  read(R"({"count": 64.0})", again);
  EXPECT_EQ(again.count.value(), 64);
}

TEST(ResultFieldTest, AWrongFileIsRefusedByKey) {
  EXPECT_EQ(read_error("{}"), "file: key 'count' is missing");
  EXPECT_EQ(read_error(R"({"count": "x"})"), "file: count: must be a number; got \"x\"");
  EXPECT_EQ(read_error(R"({"count": 1.5})"), "file: count: must be a whole number; got 1.5");
  EXPECT_EQ(read_error(R"({"count": 0})"), "file: count: must be > 0");
  EXPECT_EQ(read_error(R"({"count": 1, "text": 2})"), "file: text: must be a string; got 2");
  EXPECT_EQ(read_error("[1]"), "file: must be a JSON object; got [1]");
}

}  // namespace
}  // namespace lowbank
