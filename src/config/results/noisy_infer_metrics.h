#pragma once

#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// The cells and their noise: the keys of a recipe's `noise`.
struct NoiseFigures {
  std::string model = {};
  double sigma = kNotReported;
  std::string encoding = {};
  Count weight_bits = {};
  Count cell_bits = {};
  ResultFields fields();
};

/// Mean over trials with its 95 % interval, as perplexity; not reported if every trial diverged.
struct NoisePoint {
  double slc_frac = 0;
  Count num_protected_ranks = {};
  double cells_frac = kNotReported;  ///< cells relative to no SLC cells at all
  Count num_trials = {};
  Count num_diverged = {};  ///< trials without a finite loss, which the mean leaves out
  double mean = kNotReported;
  double mean_nll = kNotReported;
  double standard_error = kNotReported;  ///< of mean_nll
  double ci95_low = kNotReported;
  double ci95_high = kNotReported;
  std::vector<double> trials = {};  ///< mean negative log-likelihood of each
  ResultFields fields();
};

struct NoiseCurve {
  std::string importance = {};  ///< how protected ranks were chosen: "abs_grad", "random"
  std::vector<NoisePoint> points = {};
  ResultFields fields();
};

/// metrics.json of `noisy-infer` (docs/noise.md).
struct NoisyInferMetrics {
  std::string task = {};
  double clean_perplexity = kNotReported;      ///< float checkpoint
  double quantised_perplexity = kNotReported;  ///< integer codes, no noise
  NoiseFigures noise = {};
  Count num_layers = {};
  Count num_ranks = {};
  Count num_weights = {};
  Count cells_per_weight = {};
  double signal_to_noise_db = kNotReported;
  Count context = {};
  Count num_chunks = {};
  std::vector<NoiseCurve> curves = {};
  double seconds = kNotReported;
  ResultFields fields();
};

}  // namespace lowbank
