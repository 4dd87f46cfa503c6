#pragma once

#include <string>
#include <vector>

#include "config/results/result_field.h"

namespace lowbank {

/// metrics.json of `convert` (docs/convert.md).
struct ConvertMetrics {
  /// A tensor of the source that the result has no place for.
  struct Dropped {
    std::string name = {};
    std::string reason = {};
    ResultFields fields();
  };

  std::string format = {};
  Count num_tensors = {};
  Count num_params = {};
  Count num_bytes = {};
  Count num_mapped = {};
  std::vector<Dropped> dropped = {};
  std::vector<std::string> missing = {};  ///< optional parameters that the source lacks
  ResultFields fields();
};

}  // namespace lowbank
