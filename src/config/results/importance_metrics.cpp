#include "config/results/importance_metrics.h"

namespace lowbank {

ResultFields TopShares::fields() {
  return {{"top_05_share", &top_05_share},
          {"top_10_share", &top_10_share},
          {"top_20_share", &top_20_share}};
}

ResultFields ImportanceMetrics::Concentration::fields() {
  return {{"before", &before}, {"after", &after}};
}

ResultFields ImportanceMetrics::Curve::fields() {
  return {{"rank_frac", &rank_frac}, {"before", &before}, {"after", &after}};
}

ResultFields ImportanceMetrics::Layer::fields() {
  return {{"path", &path}, {"rank", &rank}, {"before", &before}, {"after", &after}};
}

ResultFields ImportanceMetrics::fields() {
  return {{"importance_measure", &measure},
          {"num_examples", &num_examples},
          {"concentration", &concentration},
          {"concentration_curve", &curve},
          {"layers", &layers}};
}

}  // namespace lowbank
