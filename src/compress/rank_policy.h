#pragma once

#include <cstdint>
#include <string>

#include <torch/types.h>

namespace lowbank {

/// The rank at which factors hold as many parameters as the dense [O, I] matrix (s not counted):
/// floor(O I / (O + I)), at least 1.
/// Source: HyFlexPIM, "hard-threshold" rank.
std::int64_t break_even_rank(std::int64_t out_features, std::int64_t in_features);

/// Decides the rank of each layer from the layer's own shape and singular values.
/// Source:  HyFlexPIM; energy fraction as usual for truncated SVD.
/// Differs: the reference reuses the rank of the first of several siblings.
class RankPolicy {
 public:
  /// break_even | ratio:X of the break-even rank, X > 0 | fraction:X of the full rank, X in (0, 1]
  /// | energy:X of the sum of squared singular values, X in (0, 1] | fixed:K, K >= 1. Errors:
  /// ConfigError.
  explicit RankPolicy(const std::string& text);

  /// Rank of the layer at `path` with singular values s. Errors: ConfigError when a fixed rank, or
  /// a ratio of the break-even rank, is above min(O, I).
  std::int64_t rank(const std::string& path, std::int64_t out_features, std::int64_t in_features,
                    const torch::Tensor& s_R) const;

 private:
  enum class Kind { kBreakEven, kRatio, kFraction, kEnergy, kFixed };
  Kind kind_;
  double value_ = 0;
};

}  // namespace lowbank
