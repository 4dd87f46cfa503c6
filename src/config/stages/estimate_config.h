#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

/// What to price: workloads on systems, or else one file of experiments, calls or operators.
struct EstimateConfig : StageConfig {
  std::vector<std::string> workload;
  std::vector<std::string> system;
  std::string experiments;  ///< JSONL
  std::string pim_calls;    ///< CSV
  std::string operators;    ///< CSV
  std::string fit;          ///< CSV of measured operators
  std::string trace;        ///< text file to write: every command of the calls
  std::string mode = "physical";
  std::vector<std::string> correct;  ///< corrections added to reference mode
  double slc_frac = 0.2;        ///< share of the weights in SLC cells of an RRAM system; in [0, 1]
  std::int64_t slc_slices = 0;  ///< protected slices of every weight of an RRAM system
  std::string encoding = "twos_complement";  ///< how RRAM cells hold a weight, as in noise
  std::vector<double> batch;                 ///< sequences; empty = each workload's own
  std::vector<double> context;               ///< tokens; empty = each workload's own
  std::int64_t output_tokens = 0;     ///< tokens generated after the prompt; 0 = single phases only
  std::int64_t num_gpus = 1;          ///< GPUs that share every layer (tensor parallel)
  std::int64_t num_chips = 0;         ///< chips of an RRAM system; 0 = as many as the weights need
  std::string attention = "fused";    ///< on GPUs, in physical mode
  std::string prompt_head = "last";   ///< tokens of a prompt that the head computes
  std::string interconnect;           ///< preset of kind link; "" = the GPUs' own
  std::string kv_format = "none";     ///< format of keys and values; none = the system's own
  std::string state_format = "none";  ///< format of states; none = the system's own
  bool crossovers = false;
  bool break_even = false;
  double sensitivity = 0;  ///< fraction by which constants are changed; 0 = no such study
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
  /// "" if a table is written to the single file `out` (which does not end in '/').
  std::string run_folder() const override;
  /// A table gets a folder in a run, since later stages read folders.
  std::string place_in_run(const std::string& folder, const std::string& id) const override;
  bool makes_table() const;
};

}  // namespace lowbank
