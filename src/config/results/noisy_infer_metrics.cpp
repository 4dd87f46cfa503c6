#include "config/results/noisy_infer_metrics.h"

namespace lowbank {

ResultFields NoiseFigures::fields() {
  return {{"model", &model},
          {"sigma", &sigma},
          {"encoding", &encoding},
          {"weight_bits", &weight_bits},
          {"cell_bits", &cell_bits}};
}

ResultFields NoisePoint::fields() {
  return {ResultField("slc_frac", &slc_frac).required(),
          {"num_protected_ranks", &num_protected_ranks},
          {"cells_frac", &cells_frac},
          {"num_trials", &num_trials},
          {"num_diverged", &num_diverged},
          {"mean", &mean},
          {"mean_nll", &mean_nll},
          {"standard_error", &standard_error},
          {"ci95_low", &ci95_low},
          {"ci95_high", &ci95_high},
          {"trials", &trials}};
}

ResultFields NoiseCurve::fields() {
  return {ResultField("importance", &importance).required(), {"points", &points}};
}

ResultFields NoisyInferMetrics::fields() {
  return {{"task", &task},
          {"clean_perplexity", &clean_perplexity},
          {"quantised_perplexity", &quantised_perplexity},
          {"noise", &noise},
          {"num_layers", &num_layers},
          {"num_ranks", &num_ranks},
          {"num_weights", &num_weights},
          {"cells_per_weight", &cells_per_weight},
          {"signal_to_noise_db", &signal_to_noise_db},
          {"context", &context},
          {"num_chunks", &num_chunks},
          {"curves", &curves},
          {"seconds", &seconds}};
}

}  // namespace lowbank
