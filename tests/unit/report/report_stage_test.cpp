#include "stages/report_stage.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/opened_files.h"
#include "core/text.h"
#include "markup_checker.h"
#include "report/runs/noise_comparison.h"
#include "temp_folder.h"

namespace lowbank::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

// A folder of made-up runs, as the stages write them.
class ReportStageTest : public ::testing::Test {
 protected:
  std::string run(const std::string& name, const std::string& stage, Json resolved, Json metrics,
                  const std::string& lines = "") {
    const std::string path = folder_.path(name);
    fs::create_directories(path);
    Json all = {{"stage", stage}, {"name", "demo"}};
    all.update(resolved);
    folder_.file(name + "/resolved.json", all.dump());
    folder_.file(name + "/metrics.json", metrics.dump());
    folder_.file(name + "/run.json",
                 Json({{"stage", stage},
                       {"provenance", stage == "estimate" ? "modelled" : "measured"},
                       {"date", "2026-01-31T10:00:0" + std::to_string(num_runs_++) + "Z"},
                       {"device", "Xeon <2 GHz>"},
                       {"seconds", 1.5}})
                     .dump());
    if (!lines.empty()) folder_.file(name + "/metrics.jsonl", lines);
    return path;
  }

  // A line of models: convert, fine-tune, factor, redistribute, two encodings, and their price.
  std::vector<std::string> whole_line() {
    std::vector<std::string> runs;
    runs.push_back(run("convert", "convert", {{"src", "tiny & small.bin"}},
                       {{"num_params", 260032}, {"num_bytes", 1040128}}));
    runs.push_back(run("evaluate", "evaluate",
                       {{"checkpoint", runs[0]}, {"data", "valid.txt"}, {"context", 128}},
                       {{"perplexity", 153.2}, {"num_predicted", 4000}, {"context", 128}}));
    runs.push_back(
        run("finetune", "finetune", {{"checkpoint", runs[0]}},
            {{"start_valid_perplexity", 153.2}, {"valid_perplexity", 14.4}, {"steps", 2}},
            "{\"step\":0,\"valid_loss\":5.0}\n{\"step\":1,\"loss\":4.0}\n"
            "{\"step\":2,\"loss\":3.0}\n{\"step\":2,\"valid_loss\":2.7}\n"));
    runs.push_back(run("factored", "compress", {{"checkpoint", runs[2] + "/checkpoint"}},
                       {{"method", "svd"},
                        {"rank_policy", "break_even"},
                        {"params_before", 1000},
                        {"params_after", 990},
                        {"linears",
                         {{{"path", "model.layers.0.mlp.up_proj"},
                           {"out", 10},
                           {"in", 20},
                           {"rank", 6},
                           {"relative_error", 0.2}}}}}));
    const Json shares = {{"top_05_share", 0.1}, {"top_10_share", 0.2}, {"top_20_share", 0.4}};
    runs.push_back(
        run("redistribute", "redistribute", {{"checkpoint", runs[3]}},
            {{"start_valid_perplexity", 20.0},
             {"valid_perplexity", 15.0},
             {"importance_measure", "abs_grad"},
             {"concentration", {{"before", shares}, {"after", shares}}},
             {"concentration_curve",
              {{"rank_frac", {0, 0.5, 1}}, {"before", {0, 0.6, 1}}, {"after", {0, 0.8, 1}}}}}));
    runs.push_back(noisy("noisy_a", runs[4], "twos_complement", 40));
    runs.push_back(noisy("noisy_b", runs[4], "sign_magnitude", 20));
    runs.push_back(run("estimate", "estimate", {{"mode", "physical"}}, Json::object()));
    folder_.file("estimate/estimate.json", estimate().dump());
    return runs;
  }

  std::string noisy(const std::string& name, const std::string& checkpoint,
                    const std::string& encoding, double at_none) {
    Json curves = Json::array();
    for (const auto& [importance, worse] :
         {std::pair{"abs_grad", 0.0}, {"rank_order", 0.1}, {"random", 9.0}}) {
      Json points = Json::array();
      for (const double slc_frac : {0.0, 0.1, 1.0}) {
        const double mean = slc_frac == 0.0   ? at_none
                            : slc_frac == 1.0 ? 15.0
                                              : at_none / 2 + 8 + worse;
        points.push_back({{"slc_frac", slc_frac},
                          {"num_trials", 8},
                          {"mean", mean},
                          {"ci95_low", mean - 0.5},
                          {"ci95_high", mean + 0.5}});
      }
      curves.push_back({{"importance", importance}, {"points", points}});
    }
    return run(name, "noisy-infer", {{"checkpoint", checkpoint}, {"data", "valid.txt"}},
               {{"clean_perplexity", 14.9},
                {"quantised_perplexity", 15.0},
                {"noise", {{"model", "multiplicative"}, {"sigma", 0.1}, {"encoding", encoding}}},
                {"curves", curves}});
  }

  // At break-even the GPU takes as long and the memory half as long.
  static Json estimate() {
    Json rows = Json::array();
    for (const auto& [system, dense_ns, factored_ns] :
         {std::tuple{"gpu", 1000.0, 1001.0}, {"rram", 100.0, 50.0}}) {
      for (const auto& [workload, latency_ns] :
           {std::pair{"finetune", dense_ns}, {"redistribute", factored_ns}}) {
        rows.push_back({{"workload", workload},
                        {"system", system},
                        {"phase", "decode"},
                        {"mode", "physical"},
                        {"tokens", 1},
                        {"latency_ns", latency_ns},
                        {"energy_per_token_pj", latency_ns * 10},
                        {"energy_by_component_pj", {{"dram", 7.0}, {"alu", 3.0}}},
                        {"area_mm2", nullptr}});
      }
    }
    return {
        {"mode", "physical"},
        {"workloads",
         {{{"name", "finetune"}, {"num_factored_linears", 0}},
          {{"name", "redistribute"}, {"num_factored_linears", 36}, {"factored_size_frac", 0.49}}}},
        {"systems",
         {{{"name", "gpu"},
           {"file", "configs/pim/gpu.json"},
           {"notes", {"dynamic energy only"}},
           {"constants",
            {{{"key", "peak"}, {"value", 3e14}, {"unit", "FLOP/s"}, {"source", "a book"}}}}}}},
        {"rows", rows}};
  }

  int report(std::vector<std::string> words, const std::string& out = "report.html") {
    words.insert(words.begin(), "lowbank-report");
    words.insert(words.end(), {"--out", folder_.path(out), "--title", "T <1>"});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    ::testing::internal::CaptureStderr();
    ::testing::internal::CaptureStdout();
    forget_opened_files();  // the test's: the command is a process of its own
    const int code =
        run_stage<ReportConfig>(static_cast<int>(argv.size()), argv.data(), report_stage);
    std::fflush(stdout);
    output_ = ::testing::internal::GetCapturedStdout();
    errors_ = ::testing::internal::GetCapturedStderr();
    return code;
  }

  void expect_refused(const std::vector<std::string>& words, const std::string& reason) {
    EXPECT_EQ(report(words), 3);
    EXPECT_THAT(errors_, HasSubstr(reason));
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
    EXPECT_FALSE(fs::exists(folder_.path("report")));
    EXPECT_FALSE(fs::exists(folder_.path("report.html")));
  }

  std::string text(const std::string& name) const { return read_text(folder_.path(name)); }

  lowbank::testing::TempFolder folder_;
  int num_runs_ = 0;
  std::string output_;
  std::string errors_;
};

TEST_F(ReportStageTest, MakesOnePageThatNeedsNothingElse) {
  ASSERT_EQ(report(whole_line()), 0) << errors_;
  std::string page = text("report.html");
  EXPECT_EQ(testing::markup_fault(page), "");
  for (std::size_t at = 0; (at = page.find("xmlns=\"http://www.w3.org/2000/svg\"")) != page.npos;) {
    page.erase(at, 34);
  }
  for (const char* outside : {"http:", "https:", "src=", "@import", "url(", "<link", "<script"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  for (const char* section :
       {"perplexity", "training", "compression", "importance", "noise", "costs", "runs"}) {
    EXPECT_THAT(page, HasSubstr(std::string("<section id=\"") + section + "\">"));
  }
  EXPECT_THAT(page, HasSubstr("T &lt;1&gt;"));
  EXPECT_THAT(page, HasSubstr("<li>gpu: dynamic energy only</li>"));
  EXPECT_THAT(text("report/table_constants.csv"),
              HasSubstr("gpu,peak,300000000000000,FLOP/s,a book,,modelled,"));
}

TEST_F(ReportStageTest, WritesDataAndScriptBesideEachFigureAndOneCsvPerTable) {
  ASSERT_EQ(report(whole_line()), 0) << errors_;
  const Json metrics = read_json(folder_.path("report/metrics.json"));
  EXPECT_GE(metrics["figures"].size(), 6u);
  for (const std::string id : metrics["figures"]) {
    EXPECT_EQ(testing::markup_fault(text("report/" + id + ".svg")), "") << id;
    EXPECT_GE(split_lines(text("report/" + id + ".csv")).size(), 2u) << id;
    EXPECT_THAT(text("report/" + id + ".py"), HasSubstr("matplotlib"));
  }
  for (const std::string id : metrics["tables"]) {
    const std::string csv = text("report/" + id + ".csv");
    EXPECT_THAT(csv.substr(0, csv.find('\n')), HasSubstr("provenance,provenance_detail")) << id;
  }
  for (const Json& headline : metrics["headlines"]) {
    EXPECT_FALSE(headline["provenance_detail"].get<std::string>().empty());
  }
}

TEST_F(ReportStageTest, SummaryFollowsFromTheNumbers) {
  ASSERT_EQ(report(whole_line()), 0) << errors_;
  const std::string summary = text("report/summary.txt");
  for (const char* sentence :
       {"Model: tiny & small, 260,032 parameters", "held-out perplexity fell from 153.2 to 14.40",
        "Factored at break-even rank: 99.0 % of the parameters left (from 1,000 to 990); "
        "perplexity 20.00, and 15.00 after training the factors",
        "sign-magnitude cells, gradient selection): perplexity 20.00 at 0 % SLC, 18.00 at 10 % "
        "SLC, 15.00 at 100 % SLC; 15.00 without noise",
        "sign-magnitude 18.00 [17.50, 18.50] against two's complement 28.00 [27.50, 28.50]: the "
        "former is better",
        "gradient against rank order: no significant difference at any of 2 points",
        "gradient against random: better at 2 of 2 points",
        "On gpu (modelled, decode), against dense: 49 % of dense size is as fast with as much "
        "energy, so it saves nothing",
        "On rram (modelled, decode), against dense: 49 % of dense size is 2.00x faster with "
        "2.00x less energy."}) {
    EXPECT_THAT(summary, HasSubstr(sentence));
  }
  EXPECT_THAT(output_, HasSubstr("report.html"));
}

TEST_F(ReportStageTest, NamesWorkloadsAfterTheModelThatTheyCameFrom) {
  auto runs = whole_line();
  const std::string factored =
      run("workload_full", "workload", {{"checkpoint", runs[4]}}, Json::object());
  Json costs = estimate();
  costs["workloads"][1]["file"] = factored + "/workload.json";
  folder_.file("estimate/estimate.json", costs.dump());
  runs.push_back(factored);
  ASSERT_EQ(report(runs), 0) << errors_;
  EXPECT_THAT(text("report/summary.txt"),
              HasSubstr("On rram (modelled, decode), against dense: break-even rank is 2.00x"));
}

TEST_F(ReportStageTest, SweepsAndStudiesOfAnEstimateHaveTheirOwnSections) {
  auto runs = whole_line();
  Json costs = estimate();
  // The rows again at other sizes; bars and gains stay with the first.
  for (Json& row : costs["rows"]) row.update({{"batch", 1}, {"context", 64}});
  const Json first = costs["rows"];
  for (const auto& [batch, context] : {std::pair{8, 64}, std::pair{1, 4096}}) {
    for (Json row : first) {
      row.update({{"batch", batch},
                  {"context", context},
                  {"tokens", batch},
                  {"latency_ns", 3 * row["latency_ns"].get<double>()},
                  {"tokens_per_s", 1e6},
                  {"time_per_output_token_s", 1e-6}});
      costs["rows"].push_back(row);
    }
  }
  const auto crossing = [](const char* metric, const char* better) {
    return Json{
        {"workload", "finetune"}, {"phase", "decode"}, {"system", "rram"}, {"versus", "gpu"},
        {"axis", "batch"},        {"from", 1},         {"to", 4096},       {"metric", metric},
        {"better", better}};
  };
  costs["crossovers"] = {crossing("time", "up to 37"), crossing("energy", "always")};
  costs["break_even"] = {crossing("time", "from 5 on"), crossing("energy", "never")};
  for (Json& entry : costs["break_even"]) entry["operator"] = "model.layers.*.mlp.up_proj";
  costs["sensitivity"] = {{{"workload", "finetune"},
                           {"phase", "decode"},
                           {"system", "gpu"},
                           {"part", 0.2},
                           {"constants",
                            {{{"constant", "peak"},
                              {"unit", "FLOP/s"},
                              {"value", 3e14},
                              {"time_at_low", 1.125},
                              {"time_at_high", 0.925},
                              {"energy_at_low", 1.0},
                              {"energy_at_high", 1.0}}}}}};
  folder_.file("estimate/estimate.json", costs.dump());
  ASSERT_EQ(report(runs), 0) << errors_;

  EXPECT_THAT(text("report/summary.txt"), HasSubstr("49 % of dense size is 2.00x faster"));
  const auto num_lines = [&](const std::string& name) { return split_lines(text(name)).size(); };
  EXPECT_EQ(num_lines("report/table_costs.csv"), 1 + 4u);
  EXPECT_EQ(num_lines("report/table_sweep.csv"), 1 + 12u);
  EXPECT_EQ(num_lines("report/table_crossovers.csv"), 1 + 1u);
  EXPECT_THAT(text("report/table_crossovers.csv"), HasSubstr("batch,1,4096,up to 37,always"));
  EXPECT_THAT(text("report/table_break_even.csv"),
              HasSubstr("model.layers.*.mlp.up_proj,rram,gpu,batch,1,4096,from 5 on,never"));
  EXPECT_TRUE(fs::exists(folder_.path("report/fig_throughput_latency.svg")));
  EXPECT_TRUE(fs::exists(folder_.path("report/fig_context.svg")));
  const std::string tornado = text("report/fig_tornado_gpu_decode_finetune.svg");
  EXPECT_THAT(tornado, HasSubstr("+12.5 / -7.5 %"));
  EXPECT_THAT(tornado, Not(HasSubstr(">energy<")));  // nothing there changes it
  EXPECT_EQ(testing::markup_fault(text("report.html")), "");
}

TEST_F(ReportStageTest, TheSummaryShowsControlCharactersOfNamesAsText) {
  ASSERT_EQ(report({run("convert", "convert", {{"src", "a\x1b[2J\xC2\x9B.bin"}},
                        {{"num_params", 260032}, {"num_bytes", 1040128}})}),
            0)
      << errors_;
  for (const std::string& shown : {text("report/summary.txt"), output_}) {
    EXPECT_THAT(shown, HasSubstr("a\\x1b[2J\\u009b"));
    EXPECT_THAT(shown, Not(HasSubstr("\x1b")));
  }
}

TEST_F(ReportStageTest, DropsSentencesAndSectionsWithoutData) {
  const auto runs = whole_line();
  ASSERT_EQ(report({runs[1]}), 0) << errors_;
  EXPECT_EQ(split_lines(text("report/summary.txt")).size(), 3u);
  EXPECT_THAT(text("report.html"), Not(HasSubstr("<section id=\"noise\">")));
}

TEST_F(ReportStageTest, GivesTheSameBytesForTheSameRunsAndRemovesStaleFigures) {
  const auto runs = whole_line();
  ASSERT_EQ(report(runs), 0) << errors_;
  const std::string first = text("report.html");
  const std::string figure = text("report/fig_noise.svg");
  ASSERT_EQ(report(runs), 0) << errors_;
  EXPECT_EQ(text("report.html"), first);
  EXPECT_EQ(text("report/fig_noise.svg"), figure);
  ASSERT_EQ(report({runs[1]}), 0) << errors_;
  EXPECT_FALSE(fs::exists(folder_.path("report/fig_noise.svg")));
}

TEST_F(ReportStageTest, ReadsAFolderOfRunsAndLeavesEarlierReportsOut) {
  const auto runs = whole_line();
  ASSERT_EQ(report(runs), 0) << errors_;
  const std::string summary = text("report/summary.txt");
  ASSERT_EQ(report({folder_.path()}), 0) << errors_;
  EXPECT_EQ(text("report/summary.txt"), summary);
}

TEST_F(ReportStageTest, KeepsFileNamesInsideItsFolder) {
  auto runs = whole_line();
  Json costs = estimate();
  for (Json& row : costs["rows"]) row["phase"] = "../../x";
  folder_.file("estimate/estimate.json", costs.dump());
  ASSERT_EQ(report(runs), 0) << errors_;
  EXPECT_TRUE(fs::exists(folder_.path("report/fig_cost_.._.._x.svg")));
}

TEST_F(ReportStageTest, RefusesInOneLineWhatIsNoFinishedRun) {
  const std::string run_folder = whole_line()[1];
  expect_refused({folder_.path("nowhere")}, "no such run folder");
  fs::create_directories(folder_.path("empty"));
  expect_refused({folder_.path("empty")}, "is no run folder");
  fs::remove(run_folder + "/run.json");
  expect_refused({run_folder}, "has not finished");
}

TEST_F(ReportStageTest, RefusesInOneLineAFileThatHoldsSomethingElse) {
  const auto runs = whole_line();
  folder_.file("evaluate/metrics.json", "{\"perplexity\": ");
  expect_refused({runs[1]}, "evaluate/metrics.json");
  folder_.file("evaluate/metrics.json", "{\"perplexity\": \"low\"}");
  expect_refused({runs[1]}, "perplexity: must be a number; got \"low\"");
  folder_.file("evaluate/metrics.json", "{}");
  expect_refused({runs[1]}, "key 'perplexity' is missing");
  folder_.file("evaluate/metrics.json", "[1]");
  expect_refused({runs[1]}, "must be a JSON object");
  folder_.file("finetune/metrics.jsonl", "{\"step\":1,\"loss\":4.0}\n{\"step\":");
  expect_refused({runs[2]}, "metrics.jsonl:2");
  folder_.file("redistribute/metrics.json",
               "{\"importance_measure\":\"abs_grad\",\"concentration_curve\":"
               "{\"rank_frac\":[0,1],\"before\":[0],\"after\":[0,1]}}");
  expect_refused({runs[4]}, "must be equally long");
  fs::remove(folder_.path("estimate/estimate.json"));
  expect_refused({runs[7]}, "estimate.json");
}

TEST_F(ReportStageTest, ListsAnEstimateOfATableOfCallsOnly) {
  const auto runs = whole_line();
  fs::remove(folder_.path("estimate/estimate.json"));
  folder_.file("estimate/metrics.json", "{\"num_calls\": 50}");
  EXPECT_EQ(report({runs[1], runs[7]}), 0) << errors_;
}

// Times in seconds; energies are ten times as many picojoules in memory, and none in compute.
Json experiment_line(const std::string& model, double batch_size, const std::string& system,
                     double state_update_s, double gemm_s) {
  return {{"model", model},
          {"batch_size", batch_size},
          {"system", system},
          {"gpu", "A100"},
          {"num_gpus", 1},
          {"input_tokens", 8},
          {"output_tokens", 5},
          {"time_s", {{"state_update", state_update_s}, {"gemm", gemm_s}}},
          {"memory_energy_pj", {{"state_update", 10 * state_update_s}, {"gemm", 10 * gemm_s}}},
          {"compute_energy_pj", {{"gemm", 0.0}}},
          {"gpu_time_error", {{"median_frac", 0.04}, {"p90_frac", 0.1}}}};
}

TEST_F(ReportStageTest, ChecksTheClaimsOfAPublicationAgainstExperiments) {
  std::vector<std::string> runs;
  // A correction that halves what memory gains over the GPU's state update of 8 s.
  for (const auto& [name, correct, memory_s] :
       {std::tuple{"reference", Json::array(), 1.0}, {"refresh", Json::array({"refresh"}), 2.0}}) {
    runs.push_back(run(name, "estimate", {{"mode", "reference"}, {"correct", correct}},
                       {{"num_experiments", 6}}));
    std::string lines;
    for (const double batch_size : {64.0, 128.0}) {
      const double more = batch_size / 64;
      for (const auto& [system, state_s] :
           {std::pair{"GPU", 8.0}, {"GPU+PIM", 4.0}, {"Pimba", memory_s}}) {
        lines +=
            experiment_line("mamba2-<2.7b>", batch_size, system, state_s * more, 2.0).dump() + "\n";
      }
    }
    folder_.file(std::string(name) + "/experiments.jsonl", lines);
  }
  ASSERT_EQ(report(runs), 0) << errors_;
  const std::string claims = text("report/table_claims.csv");
  // Batch 128: (16 + 2) / (2 + 2) = 4.5; batch 64: (8 + 2) / (1 + 2) = 3.33.
  EXPECT_THAT(claims, HasSubstr("throughput over GPU, up to\",reference,4.1,4.5,yes,2,"));
  EXPECT_THAT(claims, HasSubstr("state update and attention are 88.9 % of GPU's time, and 8.00x"));
  EXPECT_THAT(claims, HasSubstr("throughput over GPU, average\",reference,1.9,3.87298334620"));
  EXPECT_THAT(claims, HasSubstr("from 3.33 (mamba2-<2.7b> at batch 64)"));
  EXPECT_THAT(claims, HasSubstr("cannot be compared"));
  EXPECT_THAT(claims, Not(HasSubstr("refresh"))) << "single corrections have their own table";
  // (16 + 2) / (4 + 2) = 3 at batch 128.
  EXPECT_THAT(read_text(folder_.path("report/table_corrections.csv")), HasSubstr("refresh,3,"));
  const std::string figure = read_text(folder_.path("report/fig_pimba_12_throughput_small.csv"));
  EXPECT_THAT(figure, HasSubstr("\"batch 128, reference mode\",throughput over GPU,mamba2 <2.7b>,"
                                "Pimba,,4.5,modelled,\"reference mode"));
  EXPECT_THAT(read_text(folder_.path("report/fig_pimba_03_time_shares.csv")),
              HasSubstr("batch 64,state update,0.8,modelled"));
  EXPECT_FALSE(fs::exists(folder_.path("report/fig_pimba_16_throughput_h100.csv")));
  const std::string page = read_text(folder_.path("report.html"));
  EXPECT_EQ(testing::markup_fault(page.substr(page.find("<html"))), "");
  EXPECT_THAT(page, HasSubstr("median error of 4.0 %"));
}

TEST_F(ReportStageTest, ComparesSharesOfSlcCellsWithSlcCellsAlone) {
  // Half the area and 0.8 of the energy at 20 % SLC, at the same period.
  std::vector<std::string> runs;
  for (const auto& [name, slc_frac, energy, chips] :
       {std::tuple{"all", 1.0, 100.0, 2}, {"mixed", 0.2, 80.0, 1}, {"none", 0.0, 10.0, 1}}) {
    runs.push_back(run(name, "estimate", {{"mode", "physical"}}, Json::object()));
    const Json row = {{"workload", "net <1>"},
                      {"system", "rram"},
                      {"phase", "decode"},
                      {"tokens", 1},
                      {"latency_ns", 1000.0},
                      {"pipeline_period_ns", 500.0},
                      {"energy_per_token_pj", energy},
                      {"energy_by_component_pj", {{"adc", energy}}},
                      {"num_chips", chips},
                      {"area_mm2", 10.0 * chips}};
    folder_.file(std::string(name) + "/estimate.json",
                 Json({{"mode", "physical"},
                       {"slc_frac", slc_frac},
                       {"workloads", {{{"name", "net <1>"}, {"num_factored_linears", 0}}}},
                       {"systems", {{{"name", "rram"}, {"file", "rram.json"}}}},
                       {"rows", {row}}})
                     .dump());
  }
  ASSERT_EQ(report(runs), 0) << errors_;
  const std::string claims = text("report/table_hyflexpim_claims.csv");
  EXPECT_THAT(claims, HasSubstr("\"throughput, up to\",physical,1.86,1,no,"));
  EXPECT_THAT(claims, HasSubstr("\"throughput of equal area, up to\",physical,1.86,2,yes,"));
  EXPECT_THAT(claims, HasSubstr("\"energy, up to\",physical,1.45,1.25,no,"))
      << "without SLC cells nothing is protected: no claim rests on that point";
  EXPECT_THAT(text("report/table_slc.csv"),
              HasSubstr("physical,net <1>,decode,0,2000000,10,1,10,1,2,10"));
  EXPECT_THAT(text("report/fig_slc_energy.csv"), HasSubstr("net <1>,0.2,1.25,"));
  EXPECT_FALSE(fs::exists(folder_.path("report/table_costs.csv"))) << "shown once, over the share";

  // Without the point to compare with they are prices like others.
  ASSERT_EQ(report({runs[1], runs[2]}), 0) << errors_;
  EXPECT_FALSE(fs::exists(folder_.path("report/table_slc.csv")));
  EXPECT_TRUE(fs::exists(folder_.path("report/table_costs_mixed.csv")));
}

TEST_F(ReportStageTest, RefusesExperimentsThatSayNothing) {
  const std::string path =
      run("empty", "estimate", {{"mode", "physical"}}, {{"num_experiments", 0}});
  folder_.file("empty/experiments.jsonl", "");
  expect_refused({path}, "holds no experiment");
  folder_.file("empty/experiments.jsonl", experiment_line("m", 1, "GPU", 0, 0).dump() + "\n");
  expect_refused({path}, "must be > 0");
}

TEST(NoiseComparisonTest, CallsIntervalsThatTouchNoSignificantDifference) {
  const NoisePoint low = {.mean = 10, .ci95_low = 9, .ci95_high = 11};
  const NoisePoint touching = {.mean = 12, .ci95_low = 11, .ci95_high = 13};
  const NoisePoint high = {.mean = 20, .ci95_low = 19, .ci95_high = 21};
  EXPECT_EQ(compare_points(low, high), Verdict::kBetter);
  EXPECT_EQ(compare_points(high, low), Verdict::kWorse);
  EXPECT_EQ(compare_points(low, touching), Verdict::kNoDifference);
  EXPECT_EQ(compare_points(low, {.mean = 99}), Verdict::kNoDifference);
  NoisePoint diverged = low;
  diverged.num_diverged = 1;
  EXPECT_EQ(compare_points(diverged, high), Verdict::kNoDifference);
  EXPECT_EQ(compare_points(high, diverged), Verdict::kNoDifference);
}

TEST(NoiseComparisonTest, ComparesOnlyWhereSelectionsProtectDifferentRanks) {
  const auto curve = [](double shift) {
    NoiseCurve out{.importance = "x"};
    for (const double slc_frac : {0.0, 0.1, 0.5, 1.0}) {
      const double mean = 10 + shift;
      out.points.push_back(
          {.slc_frac = slc_frac, .mean = mean, .ci95_low = mean - 1, .ci95_high = mean + 1});
    }
    return out;
  };
  const CurveComparison result = compare_curves(curve(0), curve(5));
  EXPECT_EQ(result.num_better, 2);
  EXPECT_EQ(result.num_points(), 2);
  EXPECT_EQ(result.text(), "better at 2 of 2 points");
}

}  // namespace
}  // namespace lowbank::report
