#include <algorithm>
#include <cmath>
#include <cstdint>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/command_line.h"
#include "config/make_stage_config.h"
#include "config/parts/noise_config.h"
#include "config/parts/perplexity_config.h"
#include "config/parts/shared_fields.h"
#include "config/parts/train_config.h"
#include "config/stages/estimate_config.h"
#include "config/stages/evaluate_config.h"
#include "config/stages/finetune_config.h"
#include "config/stages/generate_config.h"
#include "config/stages/inspect_config.h"
#include "config/stages/noisy_infer_config.h"
#include "config/stages/redistribute_config.h"
#include "config/stages/report_config.h"
#include "config/stages/workload_config.h"
#include "core/error.h"
#include "core/text.h"
#include "error_text.h"

namespace lowbank {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

template <class Config>
std::string check_error(const Config& config) {
  return error_text<ConfigError>([&] { config.validate(); });
}

TEST(StageConfigsTest, EveryStageIsMadeByItsNameAndCanWriteAndReadItsDefaults) {
  for (const auto& name : stage_names()) {
    const auto config = make_stage_config(name);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->info().name, name);
    const Fields fields = config->fields();
    const auto defaults = to_json(fields);
    EXPECT_NO_THROW(apply_json(*config, defaults, name)) << "a default must lie in its own range";
    EXPECT_EQ(to_json(fields), defaults);
  }
  EXPECT_EQ(make_stage_config("no-such-stage"), nullptr);
}

TEST(StageConfigsTest, KeysOfAStageAreUniqueAndPositionsAreKeys) {
  for (const auto& name : stage_names()) {
    const auto config = make_stage_config(name);
    const Fields fields = config->fields();
    auto keys = field_keys(fields);
    std::sort(keys.begin(), keys.end());
    EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end()) << name;
    for (const auto& key : config->info().positionals) {
      EXPECT_NE(find_field(fields, key), nullptr) << name << " " << key;
    }
    EXPECT_THAT(config->info().example, HasSubstr("lowbank " + name));
    EXPECT_THAT(help_text(*config), HasSubstr(config->info().purpose));
  }
}

void expect_bounds(const Fields& fields, const std::string& where) {
  for (const Field& field : fields) {
    const std::string key = where + " " + field.name;
    if (field.is_group()) {
      expect_bounds(field.children, key);
      continue;
    }
    const bool is_number = std::holds_alternative<const std::int64_t*>(field.target) ||
                           std::holds_alternative<const double*>(field.target) ||
                           std::holds_alternative<const std::vector<double>*>(field.target);
    // A seed may be any number; `estimate` bounds its sweeps when it checks that they are whole.
    if (!is_number || field.name == "seed" || key == "estimate batch" ||
        key == "estimate context") {
      continue;
    }
    EXPECT_TRUE(std::isfinite(field.min)) << key;
    EXPECT_TRUE(std::isfinite(field.max)) << key;
  }
}

TEST(StageConfigsTest, EveryNumberHasBounds) {
  for (const auto& name : stage_names()) expect_bounds(make_stage_config(name)->fields(), name);
}

TEST(StageConfigsTest, AForwardPassHoldsABoundedNumberOfTokens) {
  FinetuneConfig finetune;
  finetune.data.train = "x";
  finetune.train.micro_batch_size = kMaxBatch;
  finetune.data.context = kMaxContext;
  EXPECT_EQ(check_error(finetune),
            "train.micro_batch_size: 65536 x 1048576 of data.context are more than 16777216 tokens "
            "in a forward pass");
  PerplexityConfig perplexity;
  perplexity.data = "x";
  perplexity.batch_size = kMaxBatch;
  EXPECT_THAT(check_error(perplexity), HasSubstr("batch_size: 65536 x 512 of context"));
  EXPECT_THAT(error_text<ConfigError>([] { check_forward_size("a", INT64_MAX, "b", INT64_MAX); }),
              HasSubstr("more than"));
}

TEST(StageConfigsTest, HintsOnMemoryNameKeysOfTheStage) {
  for (const auto& name : stage_names()) {
    const auto config = make_stage_config(name);
    const Fields fields = config->fields();
    for (const auto& key : config->info().memory_keys) {
      EXPECT_NE(find_field(fields, key), nullptr) << name << " " << key;
    }
  }
  EXPECT_TRUE(make_stage_config("convert")->info().memory_keys.empty());
}

TEST(StageConfigsTest, EveryStageHasAPageThatTheListOfCommandsNames) {
  const std::string docs = LOWBANK_SOURCE_DIR "/docs/";
  const std::string commands = read_bytes(docs + "commands.md");
  for (const auto& name : stage_names()) {
    EXPECT_THAT(commands, HasSubstr(fmt::format("[`{0}`]({0}.md)", name)));
    EXPECT_THAT(read_bytes(docs + name + ".md"), HasSubstr("lowbank " + name));
  }
}

TEST(StageConfigsTest, WarmUpIsNotLongerThanTheTraining) {
  TrainConfig train;
  train.steps = 5;
  train.warmup_steps = 6;
  EXPECT_EQ(check_error(train), "train.warmup_steps: must be <= train.steps (5); got 6");
  train.warmup_steps = 5;
  EXPECT_EQ(check_error(train), "no error");
}

TEST(StageConfigsTest, TextsThatAStageNeedsMustBeNamed) {
  EXPECT_THAT(check_error(FinetuneConfig()), HasSubstr("data.train is missing"));
  EXPECT_THAT(check_error(RedistributeConfig()), HasSubstr("data.train is missing"));
  EXPECT_THAT(check_error(EvaluateConfig()), HasSubstr("data is missing"));
}

TEST(StageConfigsTest, TheStrideIsNotLongerThanTheContext) {
  PerplexityConfig perplexity;
  perplexity.data = "x";
  perplexity.stride = perplexity.context + 1;
  EXPECT_THAT(check_error(perplexity), HasSubstr("stride: must be <= context (512)"));
}

TEST(StageConfigsTest, CellsMustHoldWholeCodes) {
  NoiseConfig noise;
  noise.cell_bits = 3;
  EXPECT_EQ(check_error(noise), "noise.cell_bits: must divide noise.weight_bits (8); got 3");
}

TEST(StageConfigsTest, NoisyInferNeedsAPointAndASelection) {
  NoisyInferConfig config;
  config.perplexity.data = "x";
  EXPECT_EQ(check_error(config), "no error");
  config.slc_frac.clear();
  EXPECT_THAT(check_error(config), HasSubstr("slc_frac"));
  config.slc_frac = {0};
  config.importance.clear();
  EXPECT_THAT(check_error(config), HasSubstr("importance"));
}

TEST(StageConfigsTest, APromptAndIdsExcludeEachOther) {
  GenerateConfig config;
  config.prompt = "a";
  config.ids = "b";
  EXPECT_THAT(check_error(config), HasSubstr("prompt and ids"));
}

TEST(StageConfigsTest, RunFoldersFollowFromRecipeStageAndOut) {
  EvaluateConfig evaluate;
  EXPECT_EQ(evaluate.run_folder(), "runs/default/evaluate");
  evaluate.recipe_name = "demo";
  EXPECT_EQ(evaluate.run_folder(), "runs/demo/evaluate");
  evaluate.common.out = "here";
  EXPECT_EQ(evaluate.run_folder(), "here");

  WorkloadConfig workload;
  workload.common.out = "w.json";
  EXPECT_EQ(workload.run_folder(), "") << "a single file has no run folder";
  workload.common.out = "w";
  EXPECT_EQ(workload.run_folder(), "w");

  EstimateConfig table;
  table.experiments = "in.jsonl";
  EXPECT_EQ(table.run_folder(), "runs/default/estimate");
  table.common.out = "results";
  EXPECT_EQ(table.run_folder(), "") << "a table is a file whatever its name";
  table.common.out = "results/";
  EXPECT_EQ(table.run_folder(), "results");

  ReportConfig report;
  report.recipe_name = "demo";
  EXPECT_EQ(report.page(), "runs/demo/report.html");
  EXPECT_EQ(report.run_folder(), "runs/demo/report");
  report.common.out = "x/page.html";
  EXPECT_EQ(report.run_folder(), "x/page");

  EXPECT_EQ(InspectConfig().run_folder(), "");
  EXPECT_EQ(GenerateConfig().run_folder(), "");
}

}  // namespace
}  // namespace lowbank
