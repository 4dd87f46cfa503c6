#include "config/results/training_metrics.h"

namespace lowbank {

ResultFields TrainingLine::fields() {
  ResultFields fields = {ResultField("step", &step).required(),
                         ResultField("loss", &loss).left_out(),
                         ResultField("penalty", &penalty).left_out(),
                         ResultField("learning_rate", &learning_rate).left_out(),
                         ResultField("grad_norm", &grad_norm).left_out(),
                         ResultField("tokens_per_second", &tokens_per_second).left_out()};
  for (auto& [name, value] : held_out) fields.emplace_back("valid_" + name, &value);
  return fields;
}

ResultFields TrainingMetrics::fields() {
  ResultFields fields;
  for (HeldOut& score : held_out) {
    fields.emplace_back("start_valid_" + score.name, &score.start);
    fields.emplace_back("valid_" + score.name, &score.end);
  }
  const ResultFields others = {
      {"steps", &steps},     {"num_tokens", &num_tokens}, {"tokens_per_second", &tokens_per_second},
      {"seconds", &seconds}, {"num_params", &num_params}, {"num_trainable", &num_trainable}};
  fields.insert(fields.end(), others.begin(), others.end());
  return fields;
}

}  // namespace lowbank
