#include "pim/cpu_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "core/stats.h"
#include "pim/cpu_system.h"

namespace lowbank::pim {
namespace {

using Values = std::vector<double>;

// Relative errors this small count by their square, so that the weights below stay finite.
constexpr double kSmallError = 0.01;
constexpr int kNumReweightings = 30;
constexpr std::size_t kMaxUnknowns = 8;

// What a kernel's samples settle; a sample's terms in the order of `keys`, over its time.
struct KernelSystem {
  std::vector<std::string> keys;
  std::vector<Values> rows;
  Values rests;  // of 1: the measured time less what known constants take
};

// Solves the normal equations of the chosen columns by Gaussian elimination; empty if they do not
// settle the unknowns.
Values solve(const std::vector<Values>& rows, const Values& rests, const Values& weights,
             const std::vector<std::size_t>& chosen) {
  const std::size_t n = chosen.size();
  std::vector<Values> a(n, Values(n + 1, 0.0));
  for (std::size_t s = 0; s < rows.size(); ++s) {
    for (std::size_t i = 0; i < n; ++i) {
      const double left = weights[s] * rows[s][chosen[i]];
      for (std::size_t j = 0; j < n; ++j) a[i][j] += left * rows[s][chosen[j]];
      a[i][n] += left * rests[s];
    }
  }
  Values scale(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!(a[i][i] > 0)) return {};
    scale[i] = std::sqrt(a[i][i]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) a[i][j] /= scale[i] * scale[j];
    a[i][n] /= scale[i];
  }
  // Symmetric and positive: no pivoting.
  for (std::size_t i = 0; i < n; ++i) {
    if (a[i][i] < 1e-10) return {};
    for (std::size_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double factor = a[r][i] / a[i][i];
      for (std::size_t j = i; j <= n; ++j) a[r][j] -= factor * a[i][j];
    }
  }
  Values x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = a[i][n] / a[i][i] / scale[i];
  return x;
}

double residual(const Values& row, double rest, const Values& x) {
  double sum = -rest;
  for (std::size_t i = 0; i < x.size(); ++i) sum += row[i] * x[i];
  return sum;
}

// Least weighted squares with no negative unknown: the best of all sets of unknowns that are let
// above 0; a handful, so all are tried.
Values least_squares(const KernelSystem& system, const Values& weights) {
  const std::size_t n = system.keys.size();
  Values best;
  double best_loss = std::numeric_limits<double>::infinity();
  for (std::size_t set = 1; set < (std::size_t{1} << n); ++set) {
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < n; ++i) {
      if ((set >> i & 1) != 0) chosen.push_back(i);
    }
    const Values found = solve(system.rows, system.rests, weights, chosen);
    if (found.empty() || *std::min_element(found.begin(), found.end()) < 0) continue;
    Values x(n, 0.0);
    for (std::size_t i = 0; i < chosen.size(); ++i) x[chosen[i]] = found[i];
    double loss = 0;
    for (std::size_t s = 0; s < system.rows.size(); ++s) {
      loss += weights[s] * std::pow(residual(system.rows[s], system.rests[s], x), 2);
    }
    if (loss < best_loss) {
      best_loss = loss;
      best = x;
    }
  }
  return best.empty() ? Values(n, 0.0) : best;
}

// Least absolute errors by reweighted squares (Schlossmacher 1973): a few kernels that a library
// chose badly do not move the rest.
Values least_absolute(const KernelSystem& system) {
  Values weights(system.rows.size(), 1.0);
  Values x;
  for (int i = 0; i < kNumReweightings; ++i) {
    x = least_squares(system, weights);
    for (std::size_t s = 0; s < weights.size(); ++s) {
      weights[s] =
          1 / std::max(std::abs(residual(system.rows[s], system.rests[s], x)), kSmallError);
    }
  }
  return x;
}

std::map<std::string, double> quantities(const CpuSample& sample) {
  std::map<std::string, double> sums;
  for (const auto& terms : cpu_terms(sample.operators, sample.cached_frac)) {
    for (const CpuTerm& term : terms) sums[term.key] += term.quantity;
  }
  return sums;
}

// "linear_ns_per_weight_byte" -> "ns/B"
std::string unit_of(const std::string& key) {
  if (key.ends_with("_call_ns")) return "ns";
  const std::string what = key.substr(key.rfind('_') + 1);
  return "ns/" + (what == "byte" ? "B" : what == "mac" ? "MAC" : what);
}

void settle(const std::vector<const CpuSample*>& samples, std::map<std::string, double>& known) {
  KernelSystem system;
  for (const CpuSample* const sample : samples) {
    if (sample->is_held_out) continue;
    for (const auto& [key, quantity] : quantities(*sample)) {
      const bool is_new =
          std::find(system.keys.begin(), system.keys.end(), key) == system.keys.end();
      if (quantity > 0 && !known.contains(key) && is_new) system.keys.push_back(key);
    }
  }
  if (system.keys.size() > kMaxUnknowns) {
    throw std::invalid_argument(fmt::format("fit_cpu: {} constants at once", system.keys.size()));
  }
  for (const CpuSample* const sample : samples) {
    if (sample->is_held_out) continue;
    auto sums = quantities(*sample);
    double rest = 1;
    for (const auto& [key, quantity] : sums) {
      const auto it = known.find(key);
      if (it != known.end()) rest -= quantity * it->second / sample->time_ns;
    }
    Values row;
    for (const auto& key : system.keys) row.push_back(sums[key] / sample->time_ns);
    system.rows.push_back(std::move(row));
    system.rests.push_back(rest);
  }
  if (system.keys.empty()) return;
  const Values x = least_absolute(system);
  for (std::size_t i = 0; i < x.size(); ++i) known[system.keys[i]] = x[i];
}

}  // namespace

double cpu_sample_ns(const SystemPreset& preset, const CpuSample& sample) {
  double ns = 0;
  for (const auto& [key, quantity] : quantities(sample)) ns += quantity * preset.value(key);
  return ns;
}

CpuFit fit_cpu(const std::vector<CpuSample>& samples, double cache_bytes, double element_bytes,
               const std::string& about, const std::string& source) {
  std::vector<std::string> kernels;
  std::map<std::string, std::vector<const CpuSample*>> by_kernel;
  for (const CpuSample& sample : samples) {
    if (!(sample.time_ns > 0) || !std::isfinite(sample.time_ns)) {
      throw std::invalid_argument(fmt::format("fit_cpu: sample {} {} took {} ns", sample.kernel,
                                              sample.name, sample.time_ns));
    }
    if (!by_kernel.contains(sample.kernel)) kernels.push_back(sample.kernel);
    by_kernel[sample.kernel].push_back(&sample);
  }
  CpuFit fit;
  fit.preset.name = "cpu";
  fit.preset.kind = SystemKind::kCpu;
  fit.preset.about = about;
  const auto add = [&](const std::string& key, double value, const std::string& unit,
                       const std::string& uncertain) {
    fit.preset.constants.push_back({.key = key,
                                    .value = value,
                                    .reference = {},
                                    .unit = unit,
                                    .source = source,
                                    .uncertain = uncertain});
  };
  add("cache_bytes", cache_bytes, "B", "");
  add("element_bytes", element_bytes, "B", "");
  std::map<std::string, double> known;
  std::map<std::string, std::string> owner;  // the kernel that settled it
  for (const auto& kernel : kernels) {
    settle(by_kernel[kernel], known);
    for (const auto& [key, value] : known) owner.emplace(key, kernel);
  }
  for (const auto& [key, value] : known) add(key, value, unit_of(key), "");

  std::map<std::string, std::string> uncertain;
  for (const auto& kernel : kernels) {
    CpuKernelError error{.kernel = kernel};
    Values fitted, held_out;
    for (const CpuSample* const sample : by_kernel[kernel]) {
      const double frac = std::abs(cpu_sample_ns(fit.preset, *sample) / sample->time_ns - 1);
      (sample->is_held_out ? held_out : fitted).push_back(frac);
    }
    error.num_fitted = static_cast<std::int64_t>(fitted.size());
    error.num_held_out = static_cast<std::int64_t>(held_out.size());
    if (!fitted.empty()) error.fitted_median_frac = median(fitted);
    if (!held_out.empty()) {
      error.held_out_median_frac = median(held_out);
      error.held_out_max_frac = *std::max_element(held_out.begin(), held_out.end());
    }
    uncertain[kernel] =
        held_out.empty()
            ? fmt::format("{} kernels fitted to: median error {:.1f} %; none held out",
                          error.num_fitted, 100 * error.fitted_median_frac)
            : fmt::format("{} {} kernels not fitted to: median error {:.1f} %, largest {:.1f} %",
                          error.num_held_out, kernel, 100 * error.held_out_median_frac,
                          100 * error.held_out_max_frac);
    fit.errors.push_back(error);
  }
  for (Constant& constant : fit.preset.constants) {
    const auto it = owner.find(constant.key);
    if (it != owner.end()) constant.uncertain = uncertain[it->second];
  }
  set_model_errors(fit.preset, {}, source);
  return fit;
}

void set_model_errors(SystemPreset& preset, std::vector<double> errors_frac,
                      const std::string& source) {
  const std::string uncertain = fmt::format("{} cases", errors_frac.size());
  const double largest =
      errors_frac.empty() ? 0 : *std::max_element(errors_frac.begin(), errors_frac.end());
  const auto set = [&](const char* key, double value) {
    auto it = std::find_if(preset.constants.begin(), preset.constants.end(),
                           [&](const Constant& constant) { return constant.key == key; });
    if (it == preset.constants.end()) it = preset.constants.insert(it, Constant());
    it->key = key;
    it->value = value;
    it->unit = "1";
    it->source = source;
    it->uncertain = uncertain;
  };
  set("model_error_median_frac", errors_frac.empty() ? 0 : median(std::move(errors_frac)));
  set("model_error_max_frac", largest);
}

}  // namespace lowbank::pim
