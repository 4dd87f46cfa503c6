#include "report/runs/claims.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/stats.h"

namespace lowbank::report {
namespace {

double figure_of(const ExperimentRow& row, Measure measure) {
  return measure == Measure::kTime ? row.total_time_s() : row.total_energy_pj();
}

bool has_gain_below(const SystemComparison::Pair& a, const SystemComparison::Pair& b) {
  return a.gain < b.gain;
}

}  // namespace

const SystemComparison::Pair& SystemComparison::most() const {
  return *std::max_element(pairs.begin(), pairs.end(), has_gain_below);
}

const SystemComparison::Pair& SystemComparison::least() const {
  return *std::min_element(pairs.begin(), pairs.end(), has_gain_below);
}

double SystemComparison::geometric_mean() const {
  std::vector<double> gains;
  for (const Pair& pair : pairs) gains.push_back(pair.gain);
  return gains.empty() ? kNotReported : lowbank::geometric_mean(gains);
}

double SystemComparison::arithmetic_mean() const {
  double sum = 0;
  for (const Pair& pair : pairs) sum += pair.gain;
  return pairs.empty() ? kNotReported : sum / static_cast<double>(pairs.size());
}

SystemComparison compare_systems(const ExperimentsRun& run, std::string_view system,
                                 std::string_view base, Measure measure,
                                 const std::function<bool(const ExperimentRow&)>& is_asked) {
  SystemComparison comparison;
  for (const ExperimentRow& row : run.rows) {
    if (row.system != system || !is_asked(row)) continue;
    const auto rival = std::find_if(run.rows.begin(), run.rows.end(), [&](const auto& other) {
      return other.system == base && other.is_same_task(row);
    });
    if (rival == run.rows.end()) continue;
    comparison.pairs.push_back({.base = &*rival,
                                .system = &row,
                                .gain = figure_of(*rival, measure) / figure_of(row, measure)});
  }
  return comparison;
}

const std::vector<Claim>& published_claims() {
  constexpr const char* kNoArea = "no areas of processing units are known to the presets";
  constexpr const char* kNoAsadi =
      "the constants of its baseline, ASADI with INT8, are not public; docs/results/hyflexpim.md "
      "compares what can be compared";
  static const std::vector<Claim> kClaims = {
      {.key = "a100_throughput_over_gpu_most",
       .text = "Pimba, A100: throughput over GPU, up to",
       .gpu = "A100",
       .base = "GPU",
       .is_most = true,
       .published = 4.1},
      {.key = "a100_throughput_over_pim_most",
       .text = "Pimba, A100: throughput over GPU+PIM, up to",
       .gpu = "A100",
       .base = "GPU+PIM",
       .is_most = true,
       .published = 2.1},
      {.key = "a100_throughput_over_gpu_mean",
       .text = "Pimba, A100: throughput over GPU, average",
       .gpu = "A100",
       .base = "GPU",
       .published = 1.9},
      {.key = "a100_throughput_over_pim_mean",
       .text = "Pimba, A100: throughput over GPU+PIM, average",
       .gpu = "A100",
       .base = "GPU+PIM",
       .published = 1.4},
      {.key = "h100_throughput_over_gpu_mean",
       .text = "Pimba, H100: throughput over GPU, average",
       .gpu = "H100",
       .base = "GPU",
       .published = 1.8},
      {.key = "h100_throughput_over_pim_mean",
       .text = "Pimba, H100: throughput over GPU+PIM, average",
       .gpu = "H100",
       .base = "GPU+PIM",
       .published = 1.3},
      {.key = "a100_energy_over_gpu_mean",
       .text = "Pimba, 70B on A100: energy gain over GPU, average",
       .gpu = "A100",
       .base = "GPU",
       .measure = Measure::kEnergy,
       .is_energy_set = true,
       .published = 2.2},
      {.key = "a100_energy_over_pim_mean",
       .text = "Pimba, 70B on A100: energy gain over GPU+PIM, average",
       .gpu = "A100",
       .base = "GPU+PIM",
       .measure = Measure::kEnergy,
       .is_energy_set = true,
       .published = 1.3},
      {.key = "time_multiplexed_area_overhead_frac",
       .text = "Time-multiplexed: area overhead",
       .published = 0.178,
       .why_not = kNoArea},
      {.key = "pipelined_area_overhead_frac",
       .text = "Pipelined: area overhead",
       .published = 0.324,
       .why_not = kNoArea},
      {.key = "hyflexpim_throughput_most",
       .text = "HyFlexPIM: throughput over ASADI, up to",
       .published = 1.86,
       .why_not = kNoAsadi},
      {.key = "hyflexpim_energy_most",
       .text = "HyFlexPIM: energy gain over ASADI, up to",
       .published = 1.45,
       .why_not = kNoAsadi},
  };
  return kClaims;
}

bool ClaimResult::is_reached() const {
  return std::round(value * 10) >= std::round(claim->published * 10);
}

std::vector<ClaimResult> check_claims(const ReportData& data) {
  std::vector<ClaimResult> results;
  for (const ExperimentsRun& run : data.experiments) {
    for (const Claim& claim : published_claims()) {
      ClaimResult result{.claim = &claim, .run = &run};
      result.comparison =
          compare_systems(run, "Pimba", claim.base, claim.measure, [&](const ExperimentRow& row) {
            return row.gpu == claim.gpu &&
                   (!claim.is_energy_set || (row.num_gpus > 1 && row.batch_size == 128));
          });
      if (result.comparison.pairs.empty()) continue;
      result.value =
          claim.is_most ? result.comparison.most().gain : result.comparison.geometric_mean();
      results.push_back(std::move(result));
    }
  }
  return results;
}

std::vector<std::string> claim_sentences(const ReportData& data) {
  std::vector<std::string> sentences;
  const std::vector<ClaimResult> results = check_claims(data);
  for (const ExperimentsRun& run : data.experiments) {
    if (!run.corrections.empty()) continue;
    int num_results = 0;
    int num_reached = 0;
    std::vector<std::string> missed;
    for (const ClaimResult& result : results) {
      if (result.run != &run) continue;
      ++num_results;
      if (result.is_reached()) {
        ++num_reached;
      } else {
        missed.push_back(fmt::format("{} {:.2f} (published {})", result.claim->text, result.value,
                                     result.claim->published));
      }
    }
    if (num_results == 0) continue;
    sentences.push_back(fmt::format(
        "Modelled in {} mode, {} of {} published gains are reached{}.", run.mode, num_reached,
        num_results, missed.empty() ? "" : fmt::format("; not {}", fmt::join(missed, ", "))));
  }
  return sentences;
}

}  // namespace lowbank::report
