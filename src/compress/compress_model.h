#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compress/rank_policy.h"
#include "nn/linear.h"

namespace lowbank {

/// What was done to one linear layer. Layers that did not change are listed as well.
struct LinearChange {
  std::string path;
  std::string kind;  ///< kind of the layer afterwards: dense, svd
  bool changed = false;
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::int64_t rank = 0;  ///< 0 for dense
  std::int64_t break_even_rank = 0;
  std::int64_t params_before = 0;
  std::int64_t params_after = 0;
  double relative_error = 0;  ///< Frobenius, against the weight before
};

struct CompressReport {
  std::vector<LinearChange> linears;  ///< in forward order
  std::int64_t num_svds = 0;
};

/// The choice of layers: those whose path matches one of the regular expressions anywhere. Without
/// an expression, these are all layers inside the blocks (not head, pooler, classifier).
class LinearChoice {
 public:
  /// Errors: ConfigError for a malformed expression.
  explicit LinearChoice(const std::vector<std::string>& patterns);
  bool operator()(const std::string& path, LinearRole role) const;

 private:
  std::function<bool(const std::string&, LinearRole)> matches_;
};

/// Puts truncated SVD factors into the chosen slots. A layer that is already factored is factored
/// again from the product of its factors. `on_linear` is called with the number of slots done.
///
/// Source:  HyFlexPIM, step 2 (docs/compress.md).
/// Differs: rank per layer; up_proj like all others; the dense weight is not kept.
/// Errors:  ConfigError if the choice matches nothing, a rank does not fit a layer, or a chosen
///          layer is of a kind that has no equivalent matrix.
CompressReport factor_linears(std::span<LinearSlot> slots, const LinearChoice& choice,
                              const RankPolicy& policy,
                              const std::function<void(std::int64_t)>& on_linear);

/// Replaces the chosen factored layers by dense ones, whose weight is the product of the factors.
/// Errors: ConfigError if no chosen layer is factored, or one is of a kind that has no equivalent
/// matrix.
CompressReport make_linears_dense(std::span<LinearSlot> slots, const LinearChoice& choice);

}  // namespace lowbank
