#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compress/rank_policy.h"
#include "nn/linear.h"

namespace lowbank {

/// What was done to one linear layer; layers that were left alone are listed as well.
struct LinearChange {
  std::string path;
  std::string kind;  ///< now: dense, svd
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

/// Which layers: those whose path one of the regular expressions matches anywhere; with no
/// expression, every layer inside the blocks (not head, pooler, classifier).
class LinearChoice {
 public:
  /// Errors: ConfigError for a malformed expression.
  explicit LinearChoice(const std::vector<std::string>& patterns);
  bool operator()(const std::string& path, LinearRole role) const;

 private:
  std::function<bool(const std::string&, LinearRole)> matches_;
};

/// Puts truncated SVD factors into the chosen slots; a layer that is factored already is factored
/// anew from the product of its factors. `on_linear` is told how many slots are done.
///
/// Source:  HyFlexPIM, step 2 (docs/compress.md).
/// Differs: rank per layer; up_proj like all others; the dense weight is not kept.
/// Errors:  ConfigError when the choice matches nothing, a rank does not fit a layer, or a chosen
///          layer is of a kind that no matrix stands for.
CompressReport factor_linears(std::span<LinearSlot> slots, const LinearChoice& choice,
                              const RankPolicy& policy,
                              const std::function<void(std::int64_t)>& on_linear);

/// Multiplies the factors of the chosen layers out. Errors: ConfigError when none is factored, or a
/// chosen layer is of a kind that no matrix stands for.
CompressReport make_linears_dense(std::span<LinearSlot> slots, const LinearChoice& choice);

}  // namespace lowbank
