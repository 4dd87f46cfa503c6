#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "report/runs/report_data.h"

namespace lowbank::report {

/// What is compared of two systems: figures of a row, less of which is better.
enum class Measure { kTime, kEnergy };

/// How many times less time or energy a system takes than another, over the experiments that a run
/// has of both.
struct SystemComparison {
  struct Pair {
    const ExperimentRow* base = nullptr;
    const ExperimentRow* system = nullptr;
    double gain = kNotReported;
  };
  std::vector<Pair> pairs = {};

  const Pair& most() const;   ///< there must be a pair
  const Pair& least() const;  ///< there must be a pair
  double geometric_mean() const;
  double arithmetic_mean() const;
};

/// Of the experiments that `is_asked` says yes to.
SystemComparison compare_systems(const ExperimentsRun& run, std::string_view system,
                                 std::string_view base, Measure measure,
                                 const std::function<bool(const ExperimentRow&)>& is_asked);

/// A figure that a publication states of its machine against another.
struct Claim {
  const char* key = "";   ///< for file columns and headlines: "a100_throughput_over_gpu_most"
  const char* text = "";  ///< for readers
  const char* gpu = "";   ///< "" if no experiment can stand for it
  const char* base = "";  ///< system that Pimba is compared with
  Measure measure = Measure::kTime;
  bool is_most = false;        ///< the largest gain, else the geometric mean
  bool is_energy_set = false;  ///< only the experiments of figure 14: several GPUs, batch 128
  double published = kNotReported;
  const char* why_not = "";  ///< why no experiment can stand for it
};

/// Those of Pimba (MICRO 2025) and HyFlexPIM (ISCA 2025).
const std::vector<Claim>& published_claims();

/// A claim as one run of experiments has it.
struct ClaimResult {
  const Claim* claim = nullptr;
  const ExperimentsRun* run = nullptr;
  SystemComparison comparison = {};
  double value = kNotReported;

  /// The value is at least the published one when it is rounded to as many digits.
  bool is_reached() const;
};

/// Every claim in every run that has experiments for it; runs outermost.
std::vector<ClaimResult> check_claims(const ReportData& data);

/// One line for each run without single corrections: which claims it reaches.
std::vector<std::string> claim_sentences(const ReportData& data);

}  // namespace lowbank::report
