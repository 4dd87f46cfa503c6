// Whole experiments and calls against the published simulator's own figures.
#include "pim/experiment.h"

#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "pim/csv_table.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Experiment experiment_of(const Json& row) {
  return {.model = row["model"],
          .batch_size = row["batch_size"],
          .system = row["system"],
          .gpu = row["gpu"],
          .num_gpus = row["num_gpus"],
          .input_tokens = row["input_tokens"],
          .output_tokens = row["output_tokens"]};
}

ExperimentCost price(const Experiment& experiment, EstimateMode mode) {
  return ExperimentSystem(experiment.system, experiment.gpu, mode).price(experiment);
}

// Every category's time and energies within 1e-9: the order of summation differs, nothing else.
void expect_reproduced(const std::string& path, int num_expected) {
  std::ifstream file(path);
  int num_compared = 0;
  for (std::string line; std::getline(file, line); ++num_compared) {
    const Json row = Json::parse(line);
    const Experiment experiment = experiment_of(row);
    const auto ours = price(experiment, EstimateMode::kReference).parts;
    EXPECT_EQ(ours.size(), row["time_s"].size()) << line;
    for (const auto& [category, part] : ours) {
      const auto expect = [&, &name = category](const char* key, double value) {
        ASSERT_TRUE(row[key].contains(name)) << name << " " << line;
        const double wanted = row[key][name];
        EXPECT_LE(std::abs(value - wanted), 1e-9 * wanted) << key << " " << name << " " << line;
      };
      expect("time_s", part.time_s);
      expect("memory_energy_pj", part.memory_pj);
      expect("compute_energy_pj", part.compute_pj);
    }
  }
  EXPECT_EQ(num_compared, num_expected);
}

TEST(ExperimentTest, ASampleOfTheRecordedExperimentsIsReproduced) {
  // Source: lines of the Pimba simulator's output (casys-kaist/pimba, MICRO 2025), run as
  // published.
  expect_reproduced(std::string(LOWBANK_SOURCE_DIR) + "/tests/unit/pim/reference_experiments.jsonl",
                    9);
}

TEST(ExperimentTest, EveryRecordedExperimentIsReproduced) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no reference figures: set LOWBANK_SHARED_DATA";
  expect_reproduced(folder + "/experiments.jsonl", 72);
}

// Cycles and all three counts, exactly.
void expect_calls_equal(const std::string& path, std::size_t num_expected) {
  const CsvTable table = CsvTable::read(path, {"hw"});
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string& hardware = table.text(row, "hw");
    const std::string unit = reference_unit_name(hardware == "HBM-PIM" ? "GPU+PIM" : hardware);
    const std::string& type = table.text(row, "op_type");
    ASSERT_EQ(table.count(row, "channels"), 40);
    const HbmPimModel model(combine_hbm_pim("test", load_preset("gpu-a100"),
                                            load_preset("memory-a100"), load_preset(unit)),
                            EstimateMode::kReference);
    const PimCounts counts = model.count({.kind = type == "SU"      ? PimKind::kStateUpdate
                                                  : type == "SCORE" ? PimKind::kScore
                                                                    : PimKind::kAttend,
                                          .num_op = table.count(row, "num_op"),
                                          .head_dim = table.count(row, "head_dim"),
                                          .state_dim = table.count(row, "state_dim"),
                                          .element_bytes = table.count(row, "dbyte")});
    const PimCounts wanted = {.cycles = table.count(row, "cycles"),
                              .num_activations = table.count(row, "num_act"),
                              .num_computes = table.count(row, "num_comp"),
                              .num_transfers = table.count(row, "num_rdwr")};
    EXPECT_EQ(counts, wanted) << table.line(row);
  }
  EXPECT_EQ(table.num_rows(), num_expected);
}

TEST(ExperimentTest, ASampleOfTheRecordedCallsIsEqualInCyclesAndCounts) {
  // Source: as above.
  expect_calls_equal(std::string(LOWBANK_SOURCE_DIR) + "/tests/unit/pim/reference_calls.csv", 11);
}

TEST(ExperimentTest, EveryRecordedCallIsEqualInCyclesAndCounts) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no reference figures: set LOWBANK_SHARED_DATA";
  expect_calls_equal(folder + "/calls.csv", 50);
}

TEST(ExperimentTest, InterpolationMeetsTheSumOverEveryLengthWithinAPercent) {
  const Experiment experiment = {.model = "opt-7b",
                                 .batch_size = 32,
                                 .system = "GPU+PIM",
                                 .gpu = "A100",
                                 .num_gpus = 1,
                                 .input_tokens = 2048,
                                 .output_tokens = 2048};
  Corrections every = EstimateMode::kReference;
  every.every_context = true;
  every.last_round = true;
  Corrections drawn = EstimateMode::kReference;
  drawn.last_round = true;
  const auto gemv = [&](const Corrections& corrections) {
    return ExperimentSystem("GPU+PIM", "A100", corrections).price(experiment).parts.at("gemv");
  };
  EXPECT_NEAR(gemv(every).time_s / gemv(drawn).time_s, 1.0, 0.01);
  EXPECT_NEAR(gemv(every).memory_pj / gemv(drawn).memory_pj, 1.0, 0.01);
}

std::string experiment_error(const Experiment& experiment) {
  try {
    price(experiment, EstimateMode::kReference);
    return "";
  } catch (const ConfigError& e) {
    return e.what();
  }
}

TEST(ExperimentTest, WhatHasNoValueIsRefusedByName) {
  const Experiment good = {.model = "opt-7b",
                           .batch_size = 32,
                           .system = "Pimba",
                           .gpu = "A100",
                           .num_gpus = 1,
                           .input_tokens = 2048,
                           .output_tokens = 64};
  EXPECT_EQ(experiment_error(good), "");
  const auto with = [&](auto Experiment::*member, auto value) {
    Experiment experiment = good;
    experiment.*member = value;
    return experiment_error(experiment);
  };
  EXPECT_THAT(with(&Experiment::model, "opt-70bb"), HasSubstr("did you mean 'opt-70b'"));
  EXPECT_THAT(with(&Experiment::system, "pimba"), HasSubstr("did you mean 'Pimba'"));
  EXPECT_THAT(with(&Experiment::gpu, "A10"), HasSubstr("did you mean 'A100'"));
  EXPECT_THAT(with(&Experiment::batch_size, 0), HasSubstr("batch_size"));
  EXPECT_THAT(with(&Experiment::batch_size, -4), HasSubstr("batch_size"));
  EXPECT_THAT(with(&Experiment::batch_size, std::int64_t{1} << 40), HasSubstr("batch_size"));
  EXPECT_THAT(with(&Experiment::num_gpus, 64), HasSubstr("num_gpus"));
  EXPECT_THAT(with(&Experiment::output_tokens, 1), HasSubstr("output_tokens"));
  EXPECT_THAT(with(&Experiment::output_tokens, kMaxOutputTokens + 1), HasSubstr("output_tokens"));
  EXPECT_THAT(with(&Experiment::input_tokens, std::int64_t{1} << 41), HasSubstr("input_tokens"));
}

}  // namespace
}  // namespace lowbank::pim
