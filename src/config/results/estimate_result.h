#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// estimate.json of `estimate` over workloads (docs/estimate.md).
struct EstimateResult {
  struct Workload {
    std::string name = {};
    std::string file = {};  ///< workload.json
    std::string model = {};
    Count batch = {};
    Count context = {};
    Count num_params = {};
    Count num_layers = {};
    Count num_linears = {};
    Count num_factored_linears = {};
    double factored_size_frac = kNotReported;  ///< parameters of factored linears / dense ones
    ResultFields fields();

    bool is_dense() const { return !(num_factored_linears > 0); }
  };

  struct Constant {
    std::string key = {};
    double value = kNotReported;
    std::string unit = {};
    std::string source = {};
    std::string uncertain = {};  ///< why it may be off; "" if it is not known to be
    ResultFields fields();
  };

  struct System {
    std::string name = {};
    std::string kind = {};
    std::string about = {};
    std::string file = {};                ///< of the preset
    std::vector<std::string> notes = {};  ///< what the model leaves out
    std::vector<Constant> constants = {};
    ResultFields fields();
  };

  /// Modelled cost of one phase of one workload on one system.
  struct Row {
    std::string workload = {};
    std::string system = {};
    std::string phase = {};  ///< "prefill", "decode", or "generate": a prompt and tokens after it
    std::string origin = "modelled";
    std::string mode = {};
    Count batch = {};
    Count context = {};
    Count output_tokens = {};  ///< of each sequence, generate
    Count tokens = {};
    double latency_s = kNotReported;   ///< of the phase
    double latency_ns = kNotReported;  ///< the same
    double tokens_per_s = kNotReported;
    double time_to_first_token_s = kNotReported;
    double time_per_output_token_s = kNotReported;
    double time_of_last_token_s = kNotReported;
    double pipeline_period_ns = kNotReported;  ///< RRAM: between tokens of different sequences
    double energy_pj = kNotReported;
    double energy_per_token_pj = kNotReported;
    NamedNumbers energy_by_component_pj = {};
    NamedNumbers time_by_category_ns = {};
    Count num_macs = {};
    double weight_bytes = kNotReported;
    double gpu_time_error_median_frac = kNotReported;
    double gpu_time_error_p90_frac = kNotReported;
    double area_mm2 = kNotReported;
    Count num_chips = {};
    double memory_bytes = kNotReported;
    double memory_capacity_bytes = kNotReported;
    double speedup_vs_first_workload = kNotReported;
    double energy_gain_vs_first_workload = kNotReported;
    double speedup_vs_first_system = kNotReported;
    double energy_gain_vs_first_system = kNotReported;
    std::vector<std::string> notes = {};
    ResultFields fields();
  };

  /// Where one thing takes less than another, over batch, context or rank. Entries of time and
  /// energy stand in pairs.
  struct Crossover {
    struct Change {
      Count at = {};
      bool better = false;
      ResultFields fields();
    };

    std::string workload = {};
    std::string phase = {};
    Count batch = {};
    Count context = {};
    std::string origin = "modelled";
    std::string op = {};      ///< of a single operator; "" for the whole phase
    Count num_equal = {};     ///< operators of the phase that are like it
    Count in_features = {};   ///< of a linear
    Count out_features = {};  ///< of a linear
    std::string system = {};
    std::string versus = {};  ///< a system, or "dense"
    std::string axis = {};
    Count from = {};
    Count to = {};
    std::string metric = {};  ///< "time", "energy"
    std::optional<bool> better_at_start = {};
    std::vector<Change> changes = {};
    std::string better = {};  ///< "from 3 on", "never"
    ResultFields fields();
  };

  /// What a constant of a system times 1 - part and 1 + part does; costs as ratios to those at the
  /// constant's own value.
  struct Sensitivity {
    struct Effect {
      std::string key = {};
      std::string preset = {};  ///< whose constant it is
      std::string unit = {};
      double value = kNotReported;
      double low_value = kNotReported;
      double high_value = kNotReported;
      double time_at_low = kNotReported;
      double time_at_high = kNotReported;
      double energy_at_low = kNotReported;
      double energy_at_high = kNotReported;
      ResultFields fields();
    };

    std::string workload = {};
    std::string phase = {};
    Count batch = {};
    Count context = {};
    std::string origin = "modelled";
    std::string system = {};
    double part = kNotReported;
    std::vector<Effect> effects = {};
    std::vector<std::string> refused = {};  ///< constants whose other value no machine can have
    ResultFields fields();
  };

  Count revision = {};
  std::string origin = "modelled";
  std::string mode = {};
  double slc_frac = kNotReported;
  Count num_gpus = {};
  std::vector<Workload> workloads = {};
  std::vector<System> systems = {};
  std::vector<Row> rows = {};
  // Studies that were asked for.
  std::optional<std::vector<Crossover>> crossovers = {};
  std::optional<std::vector<Crossover>> break_even = {};
  std::optional<std::vector<Sensitivity>> sensitivity = {};
  ResultFields fields();
};

/// The key of metrics.json by which a run of `estimate` over a table, or a fit, is known.
inline constexpr const char* kNumExperimentsKey = "num_experiments";
inline constexpr const char* kNumPimCallsKey = "num_calls";
inline constexpr const char* kNumOperatorsKey = "num_operators";
inline constexpr const char* kGpuFitsKey = "fits";

}  // namespace lowbank
