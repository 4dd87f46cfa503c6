#include "eval/correlation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

namespace lowbank {
namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

double pearson_correlation(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) throw std::invalid_argument("pearson_correlation: sizes differ");
  const double mean_a = mean_of(a), mean_b = mean_of(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (!(aa > 0 && bb > 0)) return std::numeric_limits<double>::quiet_NaN();
  return ab / (std::sqrt(aa) * std::sqrt(bb));
}

std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) {
      ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
    }
    begin = end;
  }
  return ranks;
}

double spearman_correlation(std::span<const double> a, std::span<const double> b) {
  return pearson_correlation(average_ranks(a), average_ranks(b));
}

double bootstrap_stderr(const SampleStatistic& statistic, std::int64_t num_examples,
                        const RandomKey& key) {
  constexpr std::uint64_t kNumSamples = 1000;
  std::vector<std::int64_t> indices(static_cast<std::size_t>(num_examples));
  std::vector<double> values;
  for (std::uint64_t sample = 0; sample < kNumSamples; ++sample) {
    const RandomKey draw = key.derive(sample);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      indices[i] =
          static_cast<std::int64_t>(draw.below(static_cast<std::uint64_t>(num_examples), i));
    }
    if (const double value = statistic(indices); std::isfinite(value)) values.push_back(value);
  }
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const double mean = mean_of(values);
  double square_sum = 0;
  for (const double value : values) square_sum += (value - mean) * (value - mean);
  return std::sqrt(square_sum / static_cast<double>(values.size() - 1));
}

}  // namespace lowbank
