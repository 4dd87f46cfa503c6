#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/results/compress_metrics.h"
#include "config/results/convert_metrics.h"
#include "config/results/estimate_result.h"
#include "config/results/experiment_line.h"
#include "config/results/importance_metrics.h"
#include "config/results/noisy_infer_metrics.h"
#include "config/results/perplexity_metrics.h"
#include "config/results/training_metrics.h"
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

// A run holds what its stage wrote, and where that is from.

struct ConvertRun : ConvertMetrics {
  RunInfo info = {};
  std::string model = {};  ///< file or folder it came from, without suffix: "stories260K"
};

struct EvaluateRun : PerplexityMetrics {
  RunInfo info = {};
  std::string data = {};  ///< file name of the text
  /// Perplexities are comparable where this text is the same: data, context and how it is cut.
  std::string protocol = {};
};

/// A finetune or redistribute run.
struct TrainingRun : TrainingMetrics {
  RunInfo info = {};
  std::vector<std::pair<double, double>> loss = {};        ///< (step, training loss)
  std::vector<std::pair<double, double>> valid_loss = {};  ///< (step, loss on held-out text)
  double start_valid_perplexity = kNotReported;
  double valid_perplexity = kNotReported;
  ImportanceMetrics importance = {};  ///< without a measure for finetune
};

struct CompressRun : CompressMetrics {
  RunInfo info = {};
};

struct NoisyRun : NoisyInferMetrics {
  RunInfo info = {};
  std::string protocol = {};
};

/// Modelled cost of one phase of one workload on one system.
struct CostRow : EstimateResult::Row {
  Provenance provenance = {};

  double latency_per_token_ns() const { return latency_ns / tokens; }
  /// Also where neither tells a batch or context.
  bool has_size_of(const CostRow& other) const;
};

struct CostConstant : EstimateResult::Constant {
  std::string system = {};
  Provenance provenance = {};
};

/// A pair of crossovers: one of time, and in words the one of energy.
struct CostCrossing : EstimateResult::Crossover {
  std::string less_energy = {};
  Provenance provenance = {};
};

struct CostSensitivity : EstimateResult::Sensitivity {
  Provenance provenance = {};
};

struct EstimateRun {
  RunInfo info = {};
  std::string mode = {};
  double slc_frac = kNotReported;
  std::vector<EstimateResult::Workload> workloads = {};
  std::vector<CostRow> rows = {};   ///< at the first batch and context of each workload
  std::vector<CostRow> sweep = {};  ///< at all of them, if there are several
  std::vector<CostCrossing> crossings = {};
  std::vector<CostSensitivity> sensitivities = {};
  std::vector<CostConstant> constants = {};
  /// What the models leave out, with the systems it holds for.
  std::vector<std::pair<std::string, std::vector<std::string>>> notes = {};

  const EstimateResult::Workload* find_workload(const std::string& name) const;
  /// The cost of the first dense workload on the same system and phase; nullptr if there is none.
  const CostRow* dense_row(const CostRow& row) const;
};

/// Modelled time and energy of one line of a table of experiments (docs/estimate.md).
struct ExperimentRow : ExperimentTask, ExperimentFigures {
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
