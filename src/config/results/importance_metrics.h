#pragma once

#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// Shares of the importance that the most important 5, 10 and 20 % of the ranks hold.
struct TopShares {
  double top_05_share = kNotReported;
  double top_10_share = kNotReported;
  double top_20_share = kNotReported;
  ResultFields fields();
};

/// What metrics.json of `redistribute` says of the importance before and after the training
/// (docs/redistribute.md).
struct ImportanceMetrics {
  /// Means over the layers.
  struct Concentration {
    TopShares before = {};
    TopShares after = {};
    ResultFields fields();
  };
  /// Share of the importance over the share of the ranks, most important first; equally long.
  struct Curve {
    std::vector<double> rank_frac = {};
    std::vector<double> before = {};
    std::vector<double> after = {};
    ResultFields fields();
  };
  struct Layer {
    std::string path = {};
    Count rank = {};
    TopShares before = {};
    TopShares after = {};
    ResultFields fields();
  };

  std::string measure = {};  ///< "abs_grad"
  Count num_examples = {};
  Concentration concentration = {};
  Curve curve = {};
  std::vector<Layer> layers = {};
  ResultFields fields();
};

}  // namespace lowbank
