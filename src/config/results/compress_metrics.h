#pragma once

#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// metrics.json of `compress` (docs/compress.md).
struct CompressMetrics {
  struct Linear {
    std::string path = {};
    std::string kind = {};  ///< now: dense, svd
    bool changed = true;
    Count out_features = {};
    Count in_features = {};
    Count rank = {};  ///< 0 for dense
    Count break_even_rank = {};
    Count params_before = {};
    Count params_after = {};
    double relative_error = kNotReported;  ///< Frobenius, against the weight before
    ResultFields fields();
  };

  std::string method = {};
  std::string rank_policy = {};
  Count params_before = {};
  Count params_after = {};
  Count bytes_before = {};  ///< of the weights, as stored
  Count bytes_after = {};
  double seconds = kNotReported;
  Count num_svds = {};
  std::vector<Linear> linears = {};
  ResultFields fields();
};

}  // namespace lowbank
