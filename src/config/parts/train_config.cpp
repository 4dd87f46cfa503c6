#include "config/parts/train_config.h"

#include <fmt/format.h>

#include "config/parts/shared_fields.h"
#include "core/error.h"

namespace lowbank {

Fields TrainConfig::fields() const {
  return {
      Field("steps", &steps, "optimizer steps").at_least(0).at_most(kMaxCount),
      Field("micro_batch_size", &micro_batch_size, "examples per forward pass")
          .at_least(1)
          .at_most(kMaxBatch),
      Field("grad_accum_steps", &grad_accum_steps, "forward passes per step")
          .at_least(1)
          .at_most(kMaxBatch),
      Field("learning_rate", &learning_rate, "peak learning rate").above(0).at_most(1e38),
      Field("min_learning_rate_frac", &min_learning_rate_frac, "last rate as a part of the peak")
          .at_least(0)
          .at_most(1),
      Field("schedule", &schedule, "after the warm-up").one_of({"cosine", "linear", "constant"}),
      Field("warmup_steps", &warmup_steps, "linear warm-up")
          .at_least(0)
          .at_most(kMaxCount)
          .unit("steps"),
      Field("weight_decay", &weight_decay, "decoupled, on matrices only").at_least(0).at_most(1000),
      Field("beta1", &beta1, "AdamW first-moment decay").at_least(0).below(1),
      Field("beta2", &beta2, "AdamW second-moment decay").at_least(0).below(1),
      Field("eps", &eps, "AdamW denominator offset").above(0).at_most(1),
      Field("max_grad_norm", &max_grad_norm, "clip the gradient's 2-norm; 0 = off")
          .at_least(0)
          .at_most(1e9),
      Field("eval_every", &eval_every, "steps between validations; 0 = at the end")
          .at_least(0)
          .at_most(kMaxCount),
      Field("eval_max_chunks", &eval_max_chunks, "held-out chunks per validation; 0 = all")
          .at_least(0)
          .at_most(kMaxCount),
      Field("save_every", &save_every, "steps between resume points; 0 = when interrupted")
          .at_least(0)
          .at_most(kMaxCount)
          .no_effect()};
}

void TrainConfig::validate() const {
  if (warmup_steps > steps) {
    throw ConfigError(fmt::format("train.warmup_steps: must be <= train.steps ({}); got {}", steps,
                                  warmup_steps));
  }
}

}  // namespace lowbank
