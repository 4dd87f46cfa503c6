#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

/// One of: workloads on systems, or a file of experiments, calls or operators.
struct EstimateConfig : StageConfig {
  std::vector<std::string> workload;
  std::vector<std::string> system;
  std::string experiments;  ///< JSONL
  std::string pim_calls;    ///< CSV
  std::string operators;    ///< CSV
  std::string fit;          ///< CSV of measured operators
  std::string trace;        ///< of the calls: every command, as text
  std::string mode = "physical";
  std::vector<std::string> correct;  ///< corrections added to reference mode
  double slc_frac = 0.2;        ///< part of the weights in SLC cells of an RRAM system; in [0, 1]
  std::vector<double> batch;    ///< sequences; empty = each workload's own
  std::vector<double> context;  ///< tokens; empty = each workload's own
  std::int64_t output_tokens = 0;     ///< generated after the prompt; 0 = only single phases
  std::int64_t num_gpus = 1;          ///< tensor parallel
  std::int64_t num_chips = 0;         ///< of RRAM systems; 0 = as many as the weights need
  std::string kv_format = "none";     ///< of keys and values; none = the system's own
  std::string state_format = "none";  ///< of states
  bool crossovers = false;
  bool break_even = false;
  double sensitivity = 0;  ///< part by which constants are changed; 0 = not asked for
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
  /// Tables are a file of their own: `out` is that file, unless it ends in '/'.
  std::string run_folder() const override;
  /// Later stages read a table's folder, not the one file that it is by default.
  std::string place_in_run(const std::string& folder, const std::string& id) const override;
  bool makes_table() const;
};

}  // namespace lowbank
