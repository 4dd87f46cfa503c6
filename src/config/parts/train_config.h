#pragma once

#include <cstdint>
#include <string>

#include "config/field.h"

namespace lowbank {

/// Optimizer, schedule and bookkeeping of one training run.
struct TrainConfig {
  std::int64_t steps = 100;             ///< optimizer steps; >= 0
  std::int64_t micro_batch_size = 8;    ///< examples per forward pass
  std::int64_t grad_accum_steps = 1;    ///< forward passes per step
  double learning_rate = 1e-3;          ///< at the peak
  double min_learning_rate_frac = 0.1;  ///< rate at the last step / peak; in [0, 1]
  std::string schedule = "cosine";      ///< after the warm-up: cosine | linear | constant
  std::int64_t warmup_steps = 10;
  double weight_decay = 0.1;  ///< on matrices only
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double max_grad_norm = 1.0;         ///< 0 = no clipping
  std::int64_t eval_every = 50;       ///< steps between validations; 0 = only at the end
  std::int64_t eval_max_chunks = 64;  ///< held-out examples per validation; 0 = all
  std::int64_t save_every = 100;      ///< steps between resume points; 0 = only when interrupted
  Fields fields() const;
  void validate() const;
};

}  // namespace lowbank
