#include "config/results/convert_metrics.h"

namespace lowbank {

ResultFields ConvertMetrics::Dropped::fields() { return {{"name", &name}, {"reason", &reason}}; }

ResultFields ConvertMetrics::fields() {
  return {{"format", &format},       {"num_tensors", &num_tensors}, {"num_params", &num_params},
          {"num_bytes", &num_bytes}, {"num_mapped", &num_mapped},   {"dropped", &dropped},
          {"missing", &missing}};
}

}  // namespace lowbank
