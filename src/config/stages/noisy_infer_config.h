#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/parts/noise_config.h"
#include "config/parts/perplexity_config.h"
#include "config/stage_config.h"

namespace lowbank {

struct NoisyInferConfig : StageConfig {
  std::string checkpoint;
  NoiseConfig noise;
  std::vector<double> slc_frac = {0, 0.05, 0.1, 0.2, 0.3, 0.5, 1};
  std::vector<std::string> importance = {"abs_grad", "rank_order", "random"};
  std::int64_t trials = 8;
  std::string task = "perplexity";
  PerplexityConfig perplexity;
  bool resume = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
