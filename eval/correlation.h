#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/philox.h"

namespace lowbank {

/// Pearson's correlation of two equally long lists; NaN where one of them has no spread (which a
/// list of fewer than two values has not).
double pearson_correlation(std::span<const double> a, std::span<const double> b);

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> average_ranks(std::span<const double> values);

/// Spearman's correlation: Pearson's of the ranks, ties averaged.
double spearman_correlation(std::span<const double> a, std::span<const double> b);

/// A statistic of the examples `indices`.
using SampleStatistic = std::function<double(std::span<const std::int64_t> indices)>;

/// Standard error by the bootstrap: the standard deviation of the statistic over 1000 samples of
/// `num_examples` examples, drawn with replacement from `key`. Samples without a finite value are
/// left out; NaN if fewer than two are left.
///
/// Source:  Efron 1979; as lm-evaluation-harness does for metrics that are no means.
/// Differs: draws from Philox instead of Python's generator.
double bootstrap_stderr(const SampleStatistic& statistic, std::int64_t num_examples,
                        const RandomKey& key);

}  // namespace lowbank
