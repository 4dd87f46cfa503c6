#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/page/number_format.h"
#include "report/page/provenance.h"

namespace lowbank::report {

/// What every run folder says about itself.
struct RunInfo {
  std::string path = {};  ///< as given
  std::string name = {};  ///< last part of the path: "compress_half"
  std::string stage = {};
  std::string checkpoint = {};  ///< path of the checkpoint it began from; "" if none
  Provenance provenance = {};
  std::string date = {};  ///< "2026-01-31T10:00:00Z"
  double seconds = kNotReported;
};

struct ConvertRun {
  RunInfo info = {};
  std::string model = {};  ///< file or folder it came from, without suffix: "stories260K"
  double num_params = kNotReported;
  double num_bytes = kNotReported;
};

struct EvaluateRun {
  RunInfo info = {};
  std::string data = {};  ///< file name of the text
  double perplexity = kNotReported;
  double word_perplexity = kNotReported;
  double byte_perplexity = kNotReported;
  double bits_per_byte = kNotReported;
  double num_predicted = kNotReported;
  double context = kNotReported;
  double tokens_per_second = kNotReported;
  /// Perplexities are comparable where this text is the same: data, context and how it is cut.
  std::string protocol = {};
};

/// Share of the importance that the most important ranks hold.
struct Concentration {
  double top_05_share = kNotReported;
  double top_10_share = kNotReported;
  double top_20_share = kNotReported;
};

/// A finetune or redistribute run.
struct TrainingRun {
  RunInfo info = {};
  std::vector<std::pair<double, double>> loss = {};        ///< (step, training loss)
  std::vector<std::pair<double, double>> valid_loss = {};  ///< (step, loss on held-out text)
  double steps = kNotReported;
  double num_tokens = kNotReported;
  double start_valid_perplexity = kNotReported;
  double valid_perplexity = kNotReported;
  std::string importance_measure = {};  ///< "" for finetune
  Concentration before = {};
  Concentration after = {};
  std::vector<double> rank_frac = {};  ///< share of the ranks, most important first
  std::vector<double> importance_before = {};
  std::vector<double> importance_after = {};
};

struct ReportedLinear {
  std::string path = {};
  std::string kind = {};
  double out_features = kNotReported;
  double in_features = kNotReported;
  double rank = kNotReported;
  double break_even_rank = kNotReported;
  double params_before = kNotReported;
  double params_after = kNotReported;
  double relative_error = kNotReported;
};

struct CompressRun {
  RunInfo info = {};
  std::string method = {};
  std::string rank_policy = {};
  double params_before = kNotReported;
  double params_after = kNotReported;
  double seconds = kNotReported;
  std::vector<ReportedLinear> linears = {};
};

/// Mean over trials with its 95 % interval, all as perplexity.
struct NoisePoint {
  double slc_frac = 0;
  double num_trials = kNotReported;
  double num_diverged = kNotReported;  ///< trials without a finite loss, left out of the mean
  double mean = kNotReported;
  double ci95_low = kNotReported;
  double ci95_high = kNotReported;
};

struct NoiseCurve {
  std::string importance = {};  ///< how protected ranks were chosen: "abs_grad", "random"
  std::vector<NoisePoint> points = {};
};

struct NoisyRun {
  RunInfo info = {};
  std::string noise_model = {};
  std::string encoding = {};
  double sigma = kNotReported;
  double cell_bits = kNotReported;
  double clean_perplexity = kNotReported;      ///< float checkpoint
  double quantised_perplexity = kNotReported;  ///< integer codes, no noise
  std::string protocol = {};
  std::vector<NoiseCurve> curves = {};
};

/// Modelled cost of one phase of one workload on one system.
struct CostRow {
  std::string workload = {};
  std::string system = {};
  std::string phase = {};  ///< "prefill", "decode", or "generate": a prompt and tokens after it
  double batch = kNotReported;
  double context = kNotReported;
  double output_tokens = kNotReported;  ///< of each sequence, generate
  double tokens = kNotReported;
  double latency_ns = kNotReported;  ///< of the phase
  double time_to_first_token_s = kNotReported;
  double time_per_output_token_s = kNotReported;
  double tokens_per_s = kNotReported;
  double energy_per_token_pj = kNotReported;
  double area_mm2 = kNotReported;
  double num_chips = kNotReported;
  double pipeline_period_ns = kNotReported;  ///< RRAM: between tokens of different sequences
  std::vector<std::pair<std::string, double>> energy_by_component_pj = {};
  Provenance provenance = {};

  double latency_per_token_ns() const { return latency_ns / tokens; }
  /// Also where neither tells a batch or context.
  bool has_size_of(const CostRow& other) const;
};

struct CostWorkload {
  std::string name = {};
  std::string file = {};  ///< workload.json
  double num_params = kNotReported;
  bool is_dense = true;
  double factored_size_frac = kNotReported;  ///< parameters of factored linears / dense ones
};

struct CostConstant {
  std::string system = {};
  std::string key = {};
  double value = kNotReported;
  std::string unit = {};
  std::string source = {};
  std::string uncertain = {};  ///< why it may be off; "" if it is not known to be
  Provenance provenance = {};
};

/// Where one thing takes less time or energy than another, over batch, context or rank.
struct CostCrossing {
  std::string workload = {};
  std::string phase = {};
  std::string op = {};  ///< of a single operator; "" for the whole phase
  std::string system = {};
  std::string versus = {};  ///< a system, or "dense"
  std::string axis = {};
  double from = kNotReported;
  double to = kNotReported;
  std::string less_time = {};  ///< "from 3 on", "never"
  std::string less_energy = {};
  Provenance provenance = {};
};

/// What a constant of a system times 1 - part and 1 + part does; costs as ratios to those at the
/// constant's own value.
struct CostSensitivity {
  std::string workload = {};
  std::string phase = {};
  std::string system = {};
  double part = kNotReported;
  struct Effect {
    std::string key = {};
    std::string unit = {};
    double value = kNotReported;
    double time_at_low = kNotReported;
    double time_at_high = kNotReported;
    double energy_at_low = kNotReported;
    double energy_at_high = kNotReported;
  };
  std::vector<Effect> effects = {};
  Provenance provenance = {};
};

struct EstimateRun {
  RunInfo info = {};
  std::string mode = {};
  double slc_frac = kNotReported;
  std::vector<CostWorkload> workloads = {};
  std::vector<CostRow> rows = {};   ///< at the first batch and context of each workload
  std::vector<CostRow> sweep = {};  ///< at all of them, if there are several
  std::vector<CostCrossing> crossings = {};
  std::vector<CostSensitivity> sensitivities = {};
  std::vector<CostConstant> constants = {};
  /// What the models leave out, with the systems it holds for.
  std::vector<std::pair<std::string, std::vector<std::string>>> notes = {};

  const CostWorkload* find_workload(const std::string& name) const;
  /// The cost of the first dense workload on the same system and phase; nullptr if there is none.
  const CostRow* dense_row(const CostRow& row) const;
};

/// Modelled time and energy of one line of a table of experiments (docs/estimate.md).
struct ExperimentRow {
  using Categories = std::vector<std::pair<std::string, double>>;

  std::string model = {};
  std::string system = {};
  std::string gpu = {};
  double batch_size = kNotReported;
  double num_gpus = kNotReported;
  double input_tokens = kNotReported;
  double output_tokens = kNotReported;
  Categories time_s = {};
  Categories memory_energy_pj = {};
  Categories compute_energy_pj = {};
  double gpu_time_error_median_frac = kNotReported;
  double gpu_time_error_p90_frac = kNotReported;

  double total_time_s() const;
  double total_energy_pj() const;
  double tokens_per_s() const;  ///< of all sequences
  /// The same generation, whatever the system.
  bool is_same_task(const ExperimentRow& other) const;
};

struct ExperimentsRun {
  RunInfo info = {};
  std::string mode = {};
  std::vector<std::string> corrections = {};  ///< switched on in reference mode
  std::vector<ExperimentRow> rows = {};
  Provenance provenance = {};
};

/// All runs of a report, each kind in the order given.
struct ReportData {
  std::vector<RunInfo> runs = {};
  std::vector<ConvertRun> converts = {};
  std::vector<EvaluateRun> evaluations = {};
  std::vector<TrainingRun> trainings = {};
  std::vector<CompressRun> compressions = {};
  std::vector<NoisyRun> noisy = {};
  std::vector<EstimateRun> estimates = {};
  std::vector<ExperimentsRun> experiments = {};

  /// The run of a folder that `asking` names: the folder itself, the parent of `checkpoint`, or,
  /// for runs that were moved, a folder of that name next to the run that asks. nullptr if not
  /// given.
  const RunInfo* find_run(const std::string& path, const RunInfo& asking) const;
  /// The run that wrote the checkpoint that `asking` began from.
  const RunInfo* find_checkpoint(const RunInfo& asking) const;
};

/// Reads run folders; a folder that only holds run folders stands for them all, oldest first.
///
/// Errors: IoError naming the path for what is no finished run folder, or for a file that does not
/// hold what the stage writes (missing optional figures are kNotReported).
ReportData read_runs(const std::vector<std::string>& paths);

}  // namespace lowbank::report
