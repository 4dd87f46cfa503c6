#include "report/sections/labels.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace lowbank::report {
namespace {

std::string with_spaces(std::string text) {
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace

std::string importance_label(const std::string& importance) {
  if (importance == "abs_grad") return "gradient";
  if (importance == "signed") return "signed gradient";
  if (importance == "magnitude") return "singular value";
  return with_spaces(importance);
}

std::string encoding_label(const std::string& encoding) {
  if (encoding == "twos_complement") return "two's complement";
  if (encoding == "sign_magnitude") return "sign-magnitude";
  return with_spaces(encoding);
}

std::string rank_policy_label(const std::string& policy) {
  if (policy == "break_even") return "break-even rank";
  if (policy.starts_with("ratio:")) return policy.substr(6) + " x break-even rank";
  if (policy.starts_with("fixed:")) return "rank " + policy.substr(6);
  if (policy.starts_with("fraction:")) return policy.substr(9) + " x full rank";
  if (policy.starts_with("energy:")) return policy.substr(7) + " of the energy";
  if (policy.starts_with("budget:")) return policy.substr(7) + " of the parameters";
  return policy;
}

std::string model_label(const ReportData& data, const RunInfo& run) {
  const RunInfo* at = &run;
  // A chain that is longer than the number of runs is a cycle.
  for (std::size_t i = 0; at != nullptr && i <= data.runs.size(); ++i) {
    for (const CompressRun& compress : data.compressions) {
      if (compress.info.path != at->path) continue;
      const auto num_alike = std::count_if(
          data.compressions.begin(), data.compressions.end(),
          [&](const CompressRun& other) { return other.rank_policy == compress.rank_policy; });
      return num_alike > 1 ? compress.info.name : rank_policy_label(compress.rank_policy);
    }
    if (at->stage == "convert") return "dense";
    const RunInfo* const before = data.find_checkpoint(*at);
    if (before == nullptr) return at->stage == "finetune" ? "dense" : at->name;
    at = before;
  }
  return run.name;
}

std::string workload_label(const ReportData& data, const EstimateRun& run,
                           const std::string& workload) {
  const EstimateResult::Workload* const found = run.find_workload(workload);
  if (found == nullptr) return workload;
  const std::string folder = std::filesystem::path(found->file).parent_path().string();
  if (const RunInfo* const source = data.find_run(folder, run.info)) {
    return model_label(data, *source);
  }
  const auto own_label = [](const EstimateResult::Workload& each) -> std::string {
    if (each.is_dense()) return "dense";
    if (!std::isfinite(each.factored_size_frac)) return each.name;
    return format_percent(each.factored_size_frac, 2) + " of dense size";
  };
  const auto num_alike = std::count_if(
      run.workloads.begin(), run.workloads.end(),
      [&](const EstimateResult::Workload& each) { return own_label(each) == own_label(*found); });
  return num_alike > 1 ? workload : own_label(*found);
}

}  // namespace lowbank::report
