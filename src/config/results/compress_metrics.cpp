#include "config/results/compress_metrics.h"

namespace lowbank {

ResultFields CompressMetrics::Linear::fields() {
  return {ResultField("path", &path).required(),
          {"kind", &kind},
          {"changed", &changed},
          {"out", &out_features},
          {"in", &in_features},
          {"rank", &rank},
          {"break_even_rank", &break_even_rank},
          {"params_before", &params_before},
          {"params_after", &params_after},
          {"relative_error", &relative_error}};
}

ResultFields CompressMetrics::fields() {
  return {{"method", &method},
          {"rank_policy", &rank_policy},
          ResultField("params_before", &params_before).required(),
          ResultField("params_after", &params_after).required(),
          {"bytes_before", &bytes_before},
          {"bytes_after", &bytes_after},
          {"seconds", &seconds},
          {"num_svds", &num_svds},
          {"linears", &linears}};
}

}  // namespace lowbank
