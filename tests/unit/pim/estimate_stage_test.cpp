// Runs the real binary: it links no torch and starts in milliseconds.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "cpu_sample.h"
#include "pim_samples.h"
#include "temp_folder.h"

namespace lowbank::pim {
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
  lowbank::testing::TempFolder folder_;
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
    // The A100's times are fitted to measurements of it, nothing of the others is.
    EXPECT_EQ(row["provenance"], row["system"] == "gpu-a100" ? "calibrated" : "modelled");
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

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_F(EstimateStageTest, BatchesAndContextsMakeASweepAndTokensAGeneration) {
  const std::string dense = workload_file("dense", 0);
  const std::string small = workload_file("small", 8);
  const Outcome outcome = run_estimate("--workload " + dense + " " + small +
                                       " --system gpu-a100 rram-hyflexpim --batch 1 8"
                                       " --context 64 1000000 --output-tokens 16 --out " +
                                       folder_.path("run"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const Json rows = read_json(folder_.path("run/estimate.json"))["rows"];
  ASSERT_EQ(rows.size(), 2u * 4 * 2 * 3);
  for (const auto& row : rows) {
    const auto batch = row["batch"].get<double>();
    const auto context = row["context"].get<double>();
    const std::string phase = row["phase"];
    const double first_s =
        row["time_to_first_token_s"].is_null() ? 0.0 : row["time_to_first_token_s"].get<double>();
    if (phase == "prefill") {
      EXPECT_EQ(row["tokens"], batch * context);
      EXPECT_EQ(row["output_tokens"], nullptr);
    } else if (phase == "decode") {
      EXPECT_EQ(row["tokens"], batch);
    } else {
      EXPECT_EQ(row["tokens"], batch * 16);
      const auto step_s = row["time_per_output_token_s"].get<double>();
      EXPECT_NEAR((first_s + 15 * step_s) / row["latency_s"].get<double>(), 1.0, 1e-9);
      EXPECT_GE(row["time_of_last_token_s"].get<double>(), step_s * (1 - 1e-9));
    }
    EXPECT_NEAR(row["tokens_per_s"].get<double>() * row["latency_s"].get<double>() /
                    row["tokens"].get<double>(),
                1.0, 1e-9);
    // Compared with the same batch and context.
    if (row["workload"] == "dense") {
      EXPECT_EQ(row["speedup_vs_first_workload"], 1.0);
    }
    if (row["system"] == "gpu-a100") {
      EXPECT_EQ(row["speedup_vs_first_system"], 1.0);
    }
  }
}

TEST_F(EstimateStageTest, StudiesStandInTheResult) {
  const std::string dense = workload_file("dense", 0);
  const Outcome outcome = run_estimate(
      "--workload " + dense +
      " --system gpu-a100 pimba-a100 --crossovers --break-even --sensitivity 0.2 --out " +
      folder_.path("run"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("less time"), HasSubstr("constants that matter most")));
  const Json result = read_json(folder_.path("run/estimate.json"));
  for (const char* const key : {"crossovers", "break_even"}) {
    ASSERT_FALSE(result[key].empty()) << key;
    for (const auto& entry : result[key]) {
      EXPECT_EQ(entry["provenance"], "modelled");
      bool is_better = entry["better_at_start"];
      auto at = entry["from"].get<std::int64_t>();
      for (const auto& change : entry["changes"]) {
        EXPECT_NE(change["better"].get<bool>(), is_better);
        EXPECT_GT(change["at"].get<std::int64_t>(), at);
        is_better = change["better"];
        at = change["at"];
      }
      EXPECT_LE(at, entry["to"].get<std::int64_t>());
    }
  }
  // Both systems have the same GPU, so only decode's attention differs.
  for (const auto& entry : result["crossovers"]) EXPECT_EQ(entry["phase"], "decode");
  ASSERT_EQ(result["sensitivity"].size(), 4u);  // two phases on two systems
  for (const auto& entry : result["sensitivity"]) EXPECT_GE(entry["constants"].size(), 10u);
}

TEST_F(EstimateStageTest, CachesTakeTheFormatThatIsAskedFor) {
  const std::string dense = workload_file("dense", 0);
  const auto decode_with = [&](const std::string& more) {
    const Outcome outcome = run_estimate("--workload " + dense + " --system gpu-a100 " + more +
                                         " --out " + folder_.path("run"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return read_json(folder_.path("run/estimate.json"))["rows"][1];
  };
  const Json own = decode_with("");
  EXPECT_EQ(decode_with("--kv-format bf16"), own);
  EXPECT_EQ(decode_with("--state-format int8"), own);  // it has no states
  for (const char* const format : {"int8", "e4m3", "e5m2", "mx8"}) {
    const Json narrow = decode_with(std::string("--kv-format ") + format);
    EXPECT_LT(narrow["memory_bytes"], own["memory_bytes"]) << format;
    EXPECT_LT(narrow["energy_pj"], own["energy_pj"]) << format;
  }
}

TEST_F(EstimateStageTest, StudiesSayWhereAnEnergyIsNotKnown) {
  const std::string cpu = folder_.file("cpu.json", testing::cpu_json().dump());
  const Outcome outcome =
      run_estimate("--workload " + workload_file("dense", 0) + " --system gpu-a100 " + cpu +
                   " --crossovers --break-even --sensitivity 0.2 --out " + folder_.path("run"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const Json result = read_json(folder_.path("run/estimate.json"));
  for (const char* const key : {"crossovers", "break_even"}) {
    ASSERT_FALSE(result[key].empty());
    for (const auto& entry : result[key]) {
      const bool is_known = entry["metric"] == "time" || entry["system"] == "gpu-a100";
      EXPECT_EQ(entry["better_at_start"].is_null(), !is_known);
      EXPECT_EQ(entry["better"] == "not known", !is_known);
    }
  }
  for (const auto& entry : result["sensitivity"]) {
    for (const auto& constant : entry["constants"]) {
      EXPECT_EQ(constant["energy_at_low"].is_null(), entry["system"] == "cpu");
    }
  }
}

TEST_F(EstimateStageTest, AttentionHeadAndLinksAreOptions) {
  const std::string workload = workload_file("dense", 0);
  const auto rows = [&](const std::string& options) {
    const std::string out = folder_.path("options.json");
    const Outcome outcome =
        run_estimate("--workload " + workload + " " + options + " --out " + out);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return read_json(out)["rows"];
  };
  const Json fused = rows("--system gpu-a100 --batch 4 --context 1024");
  const Json unfused = rows("--system gpu-a100 --batch 4 --context 1024 --attention unfused");
  // 4 sequences of 8 heads, 1,024 x 1,024 scores of 2 B.
  EXPECT_EQ(unfused[0]["memory_bytes"].get<double>() - fused[0]["memory_bytes"].get<double>(),
            4.0 * 8 * 1024 * 1024 * 2);
  EXPECT_EQ(unfused[1]["memory_bytes"], fused[1]["memory_bytes"]);
  const std::string two = "--system gpu-a100 --num-gpus 2 --batch 64";
  const double inside = rows(two)[1]["time_by_category_ns"]["transfer"].get<double>();
  const double between =
      rows(two + " --interconnect link-a100-between-nodes")[1]["time_by_category_ns"]["transfer"]
          .get<double>();
  EXPECT_GT(between, 3 * inside);
  EXPECT_EQ(run_estimate("--workload " + workload + " --system gpu-a100 --interconnect gpu-h100")
                .exit_code,
            2);
  // Dynamic energies are compared with dynamic ones only.
  const Json physical = rows("--system gpu-a100 rram-hyflexpim");
  EXPECT_TRUE(physical[2]["energy_gain_vs_first_system"].is_number());
  const Json reference = rows("--system gpu-a100 rram-hyflexpim --mode reference");
  EXPECT_TRUE(reference[2]["energy_gain_vs_first_system"].is_null());
  EXPECT_TRUE(reference[2]["speedup_vs_first_system"].is_number());
}

TEST_F(EstimateStageTest, SeveralGpusShareTheWork) {
  const std::string dense = workload_file("dense", 0);
  const auto row_with = [&](const std::string& more) {
    const Outcome outcome = run_estimate("--workload " + dense + " --system gpu-a100 " + more +
                                         " --out " + folder_.path("run"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return read_json(folder_.path("run/estimate.json"))["rows"][0];
  };
  const Json one = row_with("");
  const Json four = row_with("--num-gpus 4");
  EXPECT_EQ(one["num_chips"], 1);
  EXPECT_EQ(four["num_chips"], 4);
  EXPECT_FALSE(one["time_by_category_ns"].contains("transfer"));
  EXPECT_GT(four["time_by_category_ns"]["transfer"], 0);
  EXPECT_EQ(one["num_macs"], four["num_macs"]);
  const Outcome outcome = run_estimate(
      "--workload " + dense + " --system gpu-a100 --num-gpus 64 --out " + folder_.path("none"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("heads"));
}

TEST_F(EstimateStageTest, RramSystemsHaveTheChipsAskedFor) {
  const std::string start = "--workload " + workload_file("dense", 0) +
                            " --system gpu-a100 rram-hyflexpim --out " + folder_.path("run");
  ASSERT_EQ(run_estimate(start + " --num-chips 3").exit_code, 0);
  const Json document = read_json(folder_.path("run/estimate.json"));
  for (const Json& row : document["rows"]) {
    EXPECT_EQ(row["num_chips"], row["system"] == "gpu-a100" ? 1 : 3);
  }
  EXPECT_EQ(run_estimate(start + " --num-chips -1").exit_code, 2);
}

TEST_F(EstimateStageTest, AnOptionThatNoneOfTheSystemsKnowsIsRefusedAndElseARowSaysWhoseItIs) {
  const std::string cpu = folder_.file("cpu.json", testing::cpu_json().dump());
  const std::string start =
      "--workload " + workload_file("dense", 0) + " --out " + folder_.path("run") + " --system ";
  for (const auto& [arguments, key] : {std::pair{"rram-hyflexpim --num-gpus 4", "num_gpus"},
                                       std::pair{"gpu-a100 --num-chips 4", "num_chips"},
                                       std::pair{"gpu-a100 --slc-slices 1", "slc_slices"},
                                       std::pair{"gpu-a100 --encoding differential", "encoding"}}) {
    const Outcome outcome = run_estimate(start + arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr(key), HasSubstr("none of the systems is one")));
  }
  EXPECT_EQ(run_estimate(start + cpu + " --kv-format int8").exit_code, 2);
  EXPECT_EQ(run_estimate(start + cpu + " --state-format int8").exit_code, 2);
  const Outcome both = run_estimate(start + "gpu-a100 rram-hyflexpim --num-gpus 4");
  EXPECT_EQ(both.exit_code, 0) << both.output;
  EXPECT_THAT(both.output, HasSubstr("rram-hyflexpim: num_gpus is the number of GPUs of other"));

  const auto energy = [&](const std::string& more) {
    const Outcome outcome = run_estimate(start + "rram-hyflexpim " + more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return read_json(folder_.path("run/estimate.json"))["rows"][1]["energy_pj"].get<double>();
  };
  EXPECT_EQ(energy("--encoding offset_binary"), energy(""));
  EXPECT_EQ(energy("--kv-format int8"), energy(""));
  EXPECT_GT(energy("--kv-format fp16"), energy(""));
}

TEST_F(EstimateStageTest, WhatDoesNotFitTheMemorySaysSo) {
  // 2000 B of parameters and 16384 B of keys and values, which 32 generated tokens nearly double.
  Json preset = read_json(std::string(LOWBANK_SOURCE_DIR) + "/configs/pim/gpu-a100.json");
  preset["constants"]["memory_capacity_bytes"]["value"] = 10000;
  const std::string small = folder_.file("small.json", preset.dump());
  preset["constants"].erase("memory_capacity_bytes");
  const std::string unknown = folder_.file("unknown.json", preset.dump());
  const std::string start = "--workload " + workload_file("dense", 0) + " --system " + small + " " +
                            unknown + " rram-hyflexpim --output-tokens 32";
  const auto decode_and_generate = [&](const std::string& more) {
    const Outcome outcome = run_estimate(start + more + " --out " + folder_.path("run"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    std::vector<Json> rows;
    const Json document = read_json(folder_.path("run/estimate.json"));
    for (const Json& row : document["rows"]) {
      if (row["system"] == "small" && row["phase"] != "prefill") rows.push_back(row);
      if (row["system"] == "small") continue;
      EXPECT_TRUE(row["memory_capacity_bytes"].is_null());
      EXPECT_THAT(row["notes"].dump(), ::testing::Not(HasSubstr("does not fit")));
    }
    return rows;
  };
  const std::vector<Json> one = decode_and_generate("");
  ASSERT_EQ(one.size(), 2u);
  EXPECT_EQ(one[0]["memory_bytes"], 18384);
  EXPECT_EQ(one[0]["memory_capacity_bytes"], 10000);
  for (const Json& row : one) {
    EXPECT_EQ(row["notes"].size(), 1u) << row["notes"];
    EXPECT_THAT(row["notes"].dump(), HasSubstr("the GPU has 0.0 GB: does not fit"));
  }
  const std::vector<Json> two = decode_and_generate(" --num-gpus 2");
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0]["memory_capacity_bytes"], 20000);
  EXPECT_THAT(two[0]["notes"].dump(), ::testing::Not(HasSubstr("does not fit")));
  EXPECT_THAT(two[1]["notes"].dump(), HasSubstr("the 2 GPUs have 0.0 GB: does not fit"));
}

TEST_F(EstimateStageTest, ExperimentsComeBackInOrderWithTheirFigures) {
  const std::string line =
      R"({"model": "opt-7b", "batch_size": 32, "system": "SYSTEM", "gpu": "A100",)"
      R"( "num_gpus": 1, "input_tokens": 2048, "output_tokens": 64})";
  std::string text;
  for (const char* const system : {"Pimba", "GPU", "GPU+PIM"}) {
    text += line;
    text.replace(text.find("SYSTEM"), 6, system) += "\n";
  }
  const Outcome outcome = run_estimate("--experiments " + folder_.file("in.jsonl", text) +
                                       " --mode reference --out " + folder_.path("out.txt"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  std::ifstream file(folder_.path("out.txt"));
  std::vector<Json> results;
  for (std::string row; std::getline(file, row);) results.push_back(Json::parse(row));
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1]["system"], "GPU");
  EXPECT_EQ(results[1]["output_tokens"], 64);
  EXPECT_EQ(results[1]["mode"], "reference");
  for (const char* const key : {"time_s", "memory_energy_pj", "compute_energy_pj"}) {
    EXPECT_EQ(results[1][key].size(), 3u) << "gemm, gemv, others";
  }
  EXPECT_LT(results[0]["time_s"]["gemv"], results[1]["time_s"]["gemv"]);

  EXPECT_THAT(outcome.output, HasSubstr("A100: Pimba over GPU: "));
  EXPECT_THAT(outcome.output, HasSubstr("A100: Pimba over GPU+PIM: "));

  // Results can be priced again.
  const Outcome corrected =
      run_estimate("--experiments " + folder_.path("out.txt") +
                   " --mode reference --correct refresh --out " + folder_.path("again.jsonl"));
  ASSERT_EQ(corrected.exit_code, 0) << corrected.output;
  const std::string first = read_file(folder_.path("again.jsonl"));
  EXPECT_GT(Json::parse(first.substr(0, first.find('\n')))["time_s"]["gemv"],
            results[0]["time_s"]["gemv"]);
}

TEST_F(EstimateStageTest, CallsGetTheirCountsAndATraceOnRequest) {
  const std::string calls = folder_.file(
      "calls.csv",
      "hw,op_type,num_op,head_dim,state_dim,dbyte,channels\nPimba,SU,640,128,128,1,40\n");
  const Outcome outcome =
      run_estimate("--pim-calls " + calls + " --mode reference --trace " +
                   folder_.path("trace.txt") + " --out " + folder_.path("out.csv"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(read_file(folder_.path("out.csv")),
            "hw,op_type,num_op,head_dim,state_dim,dbyte,channels,cycles,num_act,num_comp,num_rdwr\n"
            "Pimba,SU,640,128,128,1,40,3570,10240,40960,59520\n");
  const std::string trace = read_file(folder_.path("trace.txt"));
  EXPECT_TRUE(
      trace.starts_with("# Pimba,SU,640,128,128,1,40\n"
                        "1, REFRESH_BARRIER, 0, 0, -1, -1, -1, -1\n"
                        "2, REFRESH_BARRIER, 0, 1, -1, -1, -1, -1\n"
                        "3, ACT4, 0, 0, 0, -1, -1, -1\n"))
      << trace.substr(0, 300);
  EXPECT_THAT(trace, HasSubstr("3569, PRECHARGE, "));
  std::size_t num_computes = 0;
  for (std::size_t at = 0; (at = trace.find("COMP", at)) != std::string::npos; ++at) {
    ++num_computes;
  }
  EXPECT_EQ(num_computes, 40960u);
}

TEST_F(EstimateStageTest, ThePublicationsFiguresReachItsClaims) {
  const Outcome outcome = run_estimate(
      "--quiet --json --mode reference --experiments " + std::string(LOWBANK_SOURCE_DIR) +
      "/configs/pim/figures.jsonl --out " + folder_.path("f.jsonl"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const std::string text = outcome.output.substr(0, outcome.output.find_last_not_of('\n') + 1);
  const Json metrics = Json::parse(text.substr(text.find_last_of('\n') + 1));
  EXPECT_EQ(metrics["num_experiments"], 226);
  EXPECT_LT(metrics["seconds"], 1.0);
  // Pimba, MICRO 2025: throughput up to 4.1 x over GPU and 2.1 x over GPU+PIM (averages on H100
  // 1.8 x and 1.3 x). To the digit that is printed there.
  const auto comparison = [&](const char* gpu, const char* base) {
    for (const auto& c : metrics["comparisons"]) {
      if (c["gpu"] == gpu && c["base"] == base && c["system"] == "Pimba") return c;
    }
    return Json();
  };
  EXPECT_NEAR(comparison("A100", "GPU")["most_speedup"], 4.1, 0.05);
  EXPECT_NEAR(comparison("A100", "GPU+PIM")["most_speedup"], 2.1, 0.05);
  EXPECT_NEAR(comparison("A100", "GPU+PIM")["mean_speedup"], 1.4, 0.05);
  EXPECT_NEAR(comparison("H100", "GPU")["mean_speedup"], 1.8, 0.05);
  EXPECT_NEAR(comparison("H100", "GPU+PIM")["mean_speedup"], 1.3, 0.05);
}

TEST_F(EstimateStageTest, OperatorsGetTheTimesOfTheGpuModel) {
  const std::string operators =
      folder_.file("ops.csv",
                   "gpu,kind,m,n,k,dtype\nA100,matmul,1,4096,4096,f16\n"
                   "gpu-h100,norm,32,4096,1,bf16\nH100,act,32,11008,1,f16\n");
  const Outcome outcome =
      run_estimate("--operators " + operators + " --out " + folder_.path("times.csv"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("A100: median error"));
  const std::string text = read_file(folder_.path("times.csv"));
  EXPECT_TRUE(text.starts_with("gpu,kind,m,n,k,dtype,time_ms\nA100,matmul,1,4096,4096,f16,0.02"))
      << text;  // 25 us were measured
  const Outcome bad = run_estimate(
      "--operators " + folder_.file("bad.csv", "gpu,kind,m,n,k,dtype\nA100,conv,1,2,3,f16\n") +
      " --out " + folder_.path("bad_out.csv"));
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.output, HasSubstr("line 2: kind: must be one of matmul, norm, act; got 'conv'"));
  const Outcome few = run_estimate(
      "--fit " +
      folder_.file("few.csv", "gpu,kind,m,n,k,dtype,time_ms\nA100,matmul,1,4096,4096,f16,0.025\n") +
      " --out " + folder_.path("few.json"));
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_THAT(few.output, HasSubstr("at least 40"));
}

TEST_F(EstimateStageTest, BadTablesEndInOneLineThatNamesTheirLine) {
  const auto expect = [&](const std::string& arguments, int exit_code, const std::string& text) {
    const Outcome outcome = run_estimate(arguments + " --out " + folder_.path("bad.txt"));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(text));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    EXPECT_FALSE(std::filesystem::exists(folder_.path("bad.txt")));
  };
  Json good = {{"model", "opt-7b"}, {"batch_size", 32},     {"system", "GPU"},    {"gpu", "A100"},
               {"num_gpus", 1},     {"input_tokens", 2048}, {"output_tokens", 64}};
  int number = 0;
  const auto experiments = [&](const char* key, const Json& value) {
    Json bad = good;
    if (value.is_null()) {
      bad.erase(key);
    } else {
      bad[key] = value;
    }
    return "--mode reference --experiments " +
           folder_.file(std::to_string(++number) + ".jsonl", good.dump() + "\n" + bad.dump());
  };
  expect(experiments("system", "GPU+PIN"), 2, "line 2: system: unknown system 'GPU+PIN'; did you");
  expect(experiments("batch_size", 0), 2, "line 2: batch_size");
  expect(experiments("batch_size", -1), 2, "line 2: batch_size");
  expect(experiments("batch_size", 1.5), 2, "line 2: batch_size: must be a whole number in [1, ");
  expect(experiments("batch_size", 18446744073709551615ULL), 2, "line 2: batch_size");
  expect(experiments("model", 3), 2, "line 2: model: must be a string; got 3");
  expect(experiments("batchsize", 3), 2, "did you mean 'batch_size'");
  expect(experiments("gpu", nullptr), 2, "line 2: key 'gpu' is missing");
  expect("--experiments " + folder_.file("torn.jsonl", "{\"model\""), 3, "line 1");

  const std::string header = "hw,op_type,num_op,head_dim,state_dim,dbyte,channels\n";
  const auto calls = [&](const std::string& row) {
    return "--mode reference --pim-calls " +
           folder_.file(std::to_string(++number) + ".csv", header + row + "\n");
  };
  expect(calls("Pimbo,SU,640,128,128,1,40"), 2, "line 2: hw: unknown hardware 'Pimbo'; did you");
  expect(calls("Pimba,SUB,640,128,128,1,40"), 2, "line 2: op_type");
  const std::string zero = calls("Pimba,SU,0,128,128,1,40");  // the line is told once
  expect(zero, 2,
         "estimate: " + folder_.path(std::to_string(number) + ".csv") + ": line 2: num_op");
  expect(calls("Pimba,SU,640,128,128,3,40"), 2, "line 2: 640 operators");
  expect(calls("Pimba,SU,1,32,32,1,40"), 2, "not a multiple of 16 banks");
  expect(calls("Pimba,SU,1099511627776,1099511627776,128,1,40"), 2, "63 bits");
  expect(calls("Pimba,SU,640,128,128,1,1000000"), 2, "absurd");
  expect("--pim-calls " + folder_.file("short.csv", "hw,op_type\nPimba,SU\n"), 3, "num_op");
  expect("--experiments x.jsonl --pim-calls y.csv", 2, "one of");
  expect(calls("Pimba,SU,640,128,128,1,40") + " --correct refrehs", 2, "did you mean 'refresh'");
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

  // Sizes of a sweep.
  for (const auto& [flags, text] :
       {std::pair{"--batch 0", "batch"}, std::pair{"--batch=1,-3", "batch"},
        std::pair{"--batch 1.5", "whole numbers"}, std::pair{"--context 1e300", "whole numbers"},
        std::pair{"--batch 1e12 --context 1e12", "63 bits"}, std::pair{"--context 1e12", "63 bits"},
        std::pair{"--kv-format int4", "kv_format"},
        std::pair{"--state-format fp32", "state_format"}, std::pair{"--num-gpus 0", "num_gpus"},
        std::pair{"--output-tokens -1", "output_tokens"},
        std::pair{"--sensitivity 1", "sensitivity"}, std::pair{"--crossovers", "two systems"}}) {
    expect("--workload " + good + " --system gpu-a100 " + flags, 2, text);
  }
  for (const char* const list : {"--batch 4,4", "--batch 1 4 1", "--context 8,16,8"}) {
    expect("--workload " + good + " --system gpu-a100 " + list, 2, "is given twice");
  }
  expect("--workload " + good + " --system gpu-a100 --mode reference --correct refresh,refresh", 2,
         "correct: refresh is given twice");
  expect("--operators none.csv --batch 4", 2, "belong to workload");
  expect("--operators none.csv --kv-format int8", 2, "belong to workload");

  // A preset without a source, and a workload of tomorrow.
  Json preset = read_json(std::string(LOWBANK_SOURCE_DIR) + "/configs/pim/gpu-a100.json");
  preset["constants"]["num_cores"].erase("source");
  expect("--workload " + good + " --system " + folder_.file("mine.json", preset.dump()), 2,
         "constants.num_cores: key 'source' is missing");
  Json newer = Json::parse(workload_to_json(testing::sample_workload()));
  newer["revision"] = Workload::kRevision + 1;
  expect("--workload " + folder_.file("newer.json", newer.dump()) + " --system gpu-a100", 2,
         "revision");
}

// What could be taken for a figure of a machine, an operator or a name, and is none.
TEST_F(EstimateStageTest, AbsurdConstantsOperatorsAndNamesAreRefused) {
  const std::string good = workload_file("dense", 0);
  const auto expect = [&](const std::string& arguments, const std::string& text) {
    const Outcome outcome = run_estimate(arguments + " --out " + folder_.path("bad.csv"));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(text));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    EXPECT_EQ(outcome.output.find('\x1b'), std::string::npos);
  };
  int number = 0;
  const auto file = [&](const std::string& text, const char* extension) {
    return folder_.file(std::to_string(++number) + extension, text);
  };
  for (const auto& [key, value, text] :
       {std::tuple{"gemm_memory_frac", 7.0, "gemm_memory_frac.value: must be in (0, 1]; got 7"},
        std::tuple{"gemm_wave_frac", 1.5, "gemm_wave_frac.value: must be in [0, 1]; got 1.5"},
        std::tuple{"peak_flops_per_s", 1e300, "must be > 0 and at most 1e18; got 1e+300"},
        std::tuple{"memory_bytes_per_s", 1e-300, "must be > 0 and at most 1e18; got 1e-300"},
        std::tuple{"gemm_launch_us", 1e300, "must be in [0, 1e18]; got 1e+300"}}) {
    Json preset = read_json(std::string(LOWBANK_SOURCE_DIR) + "/configs/pim/gpu-a100.json");
    preset["constants"][key]["value"] = value;
    expect("--workload " + good + " --system " + file(preset.dump(), ".json"), text);
  }

  const std::string header = "gpu,kind,m,n,k,dtype";
  const std::string huge = "A100,matmul,1099511627776,1099511627776,1099511627776,f16";
  expect(
      "--operators " + file(header + "\n" + huge + "\n", ".csv"),
      "line 2: m x n x k = 1099511627776 x 1099511627776 x 1099511627776 does not fit in 63 bits");
  expect("--fit " + file(header + ",time_ms\n" + huge + ",1\n", ".csv"), "line 2: m x n x k");
  std::string equal = header + ",time_ms\n";
  for (int i = 0; i < 50; ++i) equal += "A100,matmul,128,4096,4096,f16,0.03\n";
  expect("--fit " + file(equal, ".csv"),
         "50 matrix products of gpu-a100 have 1 different sizes; at least 40");

  for (const char* const name : {"a\x1b[31mred", "two\nlines", "\x7f", "\u202egnp"}) {
    Json document = Json::parse(workload_to_json(testing::sample_workload()));
    document["model"] = name;
    expect("--workload " + file(document.dump(), ".json") + " --system gpu-a100",
           "model: must hold no control characters");
    document["model"] = "sample";
    document["decode"][1]["name"] = name;
    expect("--workload " + file(document.dump(), ".json") + " --system gpu-a100",
           "name: must hold no control characters");
  }
}

TEST_F(EstimateStageTest, DevicesAndPipesThatMayNeverEndAreRefused) {
  const std::string pipe = folder_.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const std::string good = workload_file("dense", 0);
  for (const std::string& input : {pipe, std::string("/dev/zero"), std::string("/dev/null")}) {
    for (const std::string& arguments :
         {"--workload " + input + " --system gpu-a100", "--experiments " + input,
          "--pim-calls " + input, "--operators " + input, "--fit " + input}) {
      const Outcome outcome =
          run_estimate("--mode physical " + arguments + " --out " + folder_.path("bad.csv"));
      EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
      EXPECT_THAT(outcome.output, HasSubstr(input + ": is a device or a pipe")) << arguments;
    }
  }
  const Outcome empty = run_estimate("--experiments " + folder_.file("none.jsonl", "\n") +
                                     " --out " + folder_.path("bad.jsonl"));
  EXPECT_EQ(empty.exit_code, 3);
  EXPECT_THAT(empty.output, HasSubstr("has no experiments"));
}

TEST_F(EstimateStageTest, EnergyThatIsNotKnownIsNullAndNoGain) {
  const std::string cpu = folder_.file("cpu.json", testing::cpu_json().dump());
  const Outcome outcome =
      run_estimate("--workload " + workload_file("dense", 0) + " " + workload_file("small", 8) +
                   " --system gpu-a100 " + cpu + " --crossovers --out " + folder_.path("run"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("whole models: median error 6 %, largest 11 %"));
  EXPECT_THAT(outcome.output, ::testing::Not(HasSubstr("inf")));
  const Json document = read_json(folder_.path("run") + "/estimate.json");
  int num_cpu_rows = 0;
  for (const Json& row : document["rows"]) {
    const bool is_cpu = row["system"] == "cpu";
    num_cpu_rows += is_cpu ? 1 : 0;
    for (const char* const key : {"energy_pj", "energy_per_token_pj", "energy_gain_vs_first_system",
                                  "energy_gain_vs_first_workload"}) {
      EXPECT_EQ(row[key].is_null(), is_cpu) << key;
    }
    EXPECT_TRUE(row["speedup_vs_first_system"].is_number());
  }
  EXPECT_EQ(num_cpu_rows, 4);
  for (const Json& entry : document["crossovers"]) {
    if (entry["metric"] == "energy") {
      EXPECT_EQ(entry["better"], "not known") << entry.dump();
      EXPECT_TRUE(entry["better_at_start"].is_null()) << entry.dump();
      EXPECT_EQ(entry["changes"], Json::array()) << entry.dump();
    }
  }
}

}  // namespace
}  // namespace lowbank::pim
