// Runs the real binary: it links no torch and starts in milliseconds.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "pim_samples.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

struct Outcome {
  int exit_code = -1;
  std::string output;  // standard output, then standard error
};

Outcome run_estimate(const std::string& arguments) {
  const std::string command =
      std::string(LOWBANK_BIN_DIR) + "/lowbank-estimate " + arguments + " 2>&1";
  Outcome outcome;
  std::FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

class EstimateStageTest : public ::testing::Test {
 protected:
  std::string workload_file(const std::string& name, std::int64_t rank) {
    Workload workload = testing::sample_workload({.rank = rank});
    workload.model = name;
    return folder_.file(name + ".json", workload_to_json(workload));
  }
  testing::TempFolder folder_;
};

TEST_F(EstimateStageTest, PricesEveryWorkloadOnEverySystemInBothPhases) {
  const std::string dense = workload_file("dense", 0);
  const std::string small = workload_file("small", 8);
  const Outcome outcome =
      run_estimate("--workload " + dense + " " + small +
                   " --system gpu-a100 hbm-pim-a100 rram-hyflexpim --out " + folder_.path("run"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("rram-hyflexpim"), HasSubstr("Modelled")));

  const Json result = read_json(folder_.path("run/estimate.json"));
  EXPECT_EQ(result["mode"], "physical");
  ASSERT_EQ(result["rows"].size(), 2u * 3 * 2);
  for (const auto& row : result["rows"]) {
    EXPECT_EQ(row["provenance"], "modelled");
    double energy_pj = 0;
    for (const auto& part : row["energy_by_component_pj"]) energy_pj += part.get<double>();
    EXPECT_NEAR(energy_pj / row["energy_pj"].get<double>(), 1.0, 1e-9);
    double time_ns = 0;
    for (const auto& part : row["time_by_category_ns"]) time_ns += part.get<double>();
    EXPECT_NEAR(time_ns / row["latency_ns"].get<double>(), 1.0, 1e-9);
    EXPECT_NEAR(row["tokens_per_s"].get<double>() * row["latency_s"].get<double>(),
                row["tokens"].get<double>(), 1e-9);
    EXPECT_EQ(row["area_mm2"].is_null(), row["system"] != "rram-hyflexpim");
    EXPECT_EQ(row["time_to_first_token_s"].is_null(), row["phase"] == "decode");
    if (row["workload"] == "dense") {
      EXPECT_EQ(row["speedup_vs_first_workload"], 1.0);
    }
    if (row["system"] == "gpu-a100") {
      EXPECT_EQ(row["speedup_vs_first_system"], 1.0);
    }
  }
  EXPECT_EQ(result["workloads"][1]["num_factored_linears"], 14);
  for (const auto& system : result["systems"]) {
    for (const auto& constant : system["constants"]) EXPECT_FALSE(constant["source"].empty());
  }

  // One line a row and the same number of cells in each.
  std::ifstream csv(folder_.path("run/estimate.csv"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(csv, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 1 + result["rows"].size());
  const auto commas = [](const std::string& line) {
    return std::count(line.begin(), line.end(), ',');
  };
  for (const auto& line : lines) EXPECT_EQ(commas(line), commas(lines.front()));
}

TEST_F(EstimateStageTest, OutMayNameTheJsonFileAlone) {
  const Outcome outcome = run_estimate("--workload " + workload_file("dense", 0) +
                                       " --system gpu-a100 --out " + folder_.path("only.json"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(read_json(folder_.path("only.json"))["rows"].size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(folder_.path("only")));
}

TEST_F(EstimateStageTest, ModeAndSlcShareChangeTheFigures) {
  const std::string start = "--quiet --json --workload " + workload_file("dense", 0) + " --out " +
                            folder_.path("run") + " --system ";
  const auto energy = [&](const std::string& arguments) {
    const Outcome outcome = run_estimate(start + arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    const std::string text = outcome.output.substr(0, outcome.output.find_last_not_of('\n') + 1);
    const Json last = Json::parse(text.substr(text.find_last_of('\n') + 1));
    return last["rows"].back()["energy_pj"].get<double>();
  };
  EXPECT_NE(energy("gpu-a100"), energy("gpu-a100 --mode reference"));
  EXPECT_NE(energy("rram-hyflexpim"), energy("rram-hyflexpim --mode reference"));
  EXPECT_NE(energy("rram-hyflexpim"), energy("rram-hyflexpim --slc-frac 1"));
}

TEST_F(EstimateStageTest, BadInputsEndInOneLineAndLeaveNothingBehind) {
  const std::string good = workload_file("dense", 0);
  const auto expect = [&](const std::string& arguments, int exit_code, const std::string& text) {
    const Outcome outcome = run_estimate(arguments + " --out " + folder_.path("bad"));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(text));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    EXPECT_FALSE(std::filesystem::exists(folder_.path("bad")));
  };
  expect("--workload " + good + " --system gpu-a10", 2, "did you mean 'gpu-a100'");
  expect("--workload " + good + " --system gpu-a100 gpu-a100", 2, "given twice");
  expect("--workload " + good + " " + good + " --system gpu-a100", 2, "given twice");
  expect("--workload " + good + " --system gpu-a100 --slc-frac 2", 2, "slc_frac");
  expect("--workload " + good + " --system gpu-a100 --mode exact", 2, "mode");
  expect("--workload " + folder_.path("none.json") + " --system gpu-a100", 3, "none.json");

  Json document = Json::parse(workload_to_json(testing::sample_workload()));
  document["decode"][1]["n"] = -64;
  expect("--workload " + folder_.file("negative.json", document.dump()) + " --system gpu-a100", 2,
         "decode[1]");
}

}  // namespace
}  // namespace lowbank
