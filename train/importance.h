#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "data/text_dataset.h"
#include "models/language_model.h"
#include "nn/importance_file.h"
#include "nn/svd_linear.h"

namespace lowbank {

/// A factored projection of a model.
struct FactoredLinear {
  std::string path;
  SvdLinear* linear = nullptr;
};
/// The factored projections of a model, in forward order. Errors: ConfigError for a layer of a kind
/// that is neither dense nor factored.
std::vector<FactoredLinear> factored_linears(LanguageModel& model);

/// Importance of every rank from the first `max_examples` examples (0 = all), by every measure.
///
/// The unit is one example, whose loss is the mean negative log-likelihood of its tokens: the
/// result does not depend on the batch size. With h = x vh^T, the example's gradient of s is the
/// sum over its tokens of h * dL/d(h * s), taken from the backward pass of the whole batch.
/// Parameters and their gradients are left as they were.
///
/// Source:  HyFlexPIM (Song et al., ISCA 2025), importance |dL/ds|.
/// Differs: accumulated over a whole pass; the reference takes the last mini-batch.
/// Errors:  Interrupted after Ctrl-C.
RankImportance collect_importance(LanguageModel& model, const TextDataset& dataset,
                                  std::int64_t max_examples, std::int64_t batch_size);

/// The share of the total importance that the most important `rank_frac` of the ranks hold,
/// interpolated linearly between whole ranks; `rank_frac` itself if all importances are zero.
double top_share(const torch::Tensor& importance_R, double rank_frac);

/// top_share of a measure, averaged over the layers. Every layer counts the same, since each gets
/// its own share of the cells.
double mean_top_share(const RankImportance& importance, const std::string& measure,
                      double rank_frac);

}  // namespace lowbank
