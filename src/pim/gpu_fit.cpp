#include "pim/gpu_fit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "core/error.h"
#include "pim/fit_search.h"

namespace lowbank::pim {
namespace {

using Kernels = std::vector<MeasuredKernel>;

constexpr double kGatedAccesses = 3;  // a gated activation reads two values and writes one
constexpr std::size_t kLeastProducts = 40;
constexpr std::size_t kLeastPerModel = 20;
// Outliers are many and real: kernels that a library chose badly.
constexpr double kMostError = 0.6;
// Measured times are given to a microsecond, so differences within half of one count less.
constexpr double kRoundingS = 0.5e-6;
constexpr double kRoundingWeight = 0.3;
// Between the absolute and the squared: both the median and the 90th percentile count.
constexpr double kLinePower = 1.4;
// Few products tell all constants apart, above all where half of them are held out: each is drawn
// to its usual value, with a force that stops growing at kPriorWidth, so that unusual GPUs fit too.
constexpr double kPriorWeight = 0.1;
constexpr double kPriorWidth = 0.2;  // of the logarithm

double bounded(double error) {
  return std::isfinite(error) ? std::min(error, kMostError) : kMostError;
}

double product_loss(const GpuTimes& times, const Kernels& products) {
  double sum = 0;
  for (const auto& product : products) {
    const double time_s =
        times.matrix_s(product.m, product.n, product.k, 1, 2, /*is_batched=*/false);
    const double away_s = std::abs(time_s - product.time_s);
    const double unexplained_s =
        std::max(kRoundingWeight * away_s, away_s - (1 - kRoundingWeight) * kRoundingS);
    sum += std::pow(bounded(std::log1p(unexplained_s / product.time_s)), 2);
  }
  return sum;
}

// Of elementwise kernels of `accesses` passes over 2-byte elements.
double line_loss(const GpuLine& line, const Kernels& kernels, double accesses) {
  double sum = 0;
  for (const auto& kernel : kernels) {
    const auto columns = static_cast<double>(kernel.n);
    const double us = line.us(accesses * 2 * static_cast<double>(kernel.m) * columns, columns);
    sum += std::pow(bounded(std::abs(std::log(us * 1e-6 / kernel.time_s))), kLinePower);
  }
  return sum;
}

struct FittedConstant {
  const char* key;
  double GpuTimes::*member;
  double usual;  ///< where the search starts and what it is drawn to
};

// Positive, so their logarithms are searched; the exponent is above 1, so that of what is above is.
constexpr FittedConstant kFitted[] = {
    {"gemm_launch_us", &GpuTimes::launch_us, 3.5},
    {"gemm_compute_scale", &GpuTimes::compute_scale, 0.9},
    {"gemm_memory_frac", &GpuTimes::memory_frac, 0.9},
    {"gemm_overlap_exponent", &GpuTimes::overlap, 2.5},
    {"gemm_startup_depth", &GpuTimes::startup_depth, 150},
    {"gemm_split_us", &GpuTimes::split_us, 1.5},
    {"gemm_wave_frac", &GpuTimes::wave_frac, 0.4},
    {"gemm_core_bandwidth_scale", &GpuTimes::core_bandwidth_scale, 3.5},
    {"gemm_cache_bandwidth_scale", &GpuTimes::cache_bandwidth_scale, 3},
    {"gemm_sustained_loss", &GpuTimes::sustained_loss, 0.08},
    {"gemm_aligned_loss", &GpuTimes::aligned_loss, 0.06}};

double lowest(const FittedConstant& constant) {
  return constant.member == &GpuTimes::overlap ? 1.0 : 0.0;
}

GpuTimes with_logs(GpuTimes times, const Vector& logs) {
  for (std::size_t i = 0; i < logs.size(); ++i) {
    times.*kFitted[i].member = lowest(kFitted[i]) + std::exp(logs[i]);
  }
  times.memory_frac = std::min(times.memory_frac, 1.0);
  times.wave_frac = std::min(times.wave_frac, 1.0);
  return times;
}

GpuTimes fit_products(const GpuTimes& machine, const Kernels& products) {
  Vector usual;
  for (const auto& constant : kFitted) {
    usual.push_back(std::log(constant.usual - lowest(constant)));
  }
  const auto f = [&](const Vector& logs) {
    double prior = 0;
    for (std::size_t i = 0; i < logs.size(); ++i) {
      prior += std::hypot(1.0, (logs[i] - usual[i]) / kPriorWidth) - 1;
    }
    return product_loss(with_logs(machine, logs), products) + kPriorWeight * prior;
  };
  return with_logs(machine, minimise(f, usual));
}

GpuLine fit_line(const Kernels& kernels, double accesses, const GpuLine& start) {
  const auto line_of = [](const Vector& logs) {
    return GpuLine{.us_per_byte = std::exp(logs[0]),
                   .us_per_column = std::exp(logs[1]),
                   .launch_us = std::exp(logs[2])};
  };
  const auto f = [&](const Vector& logs) { return line_loss(line_of(logs), kernels, accesses); };
  return line_of(minimise(
      f, {std::log(start.us_per_byte), std::log(1e-4), std::log(std::max(start.launch_us, 0.1))}));
}

Kernels of_kind(const Kernels& kernels, const std::string& kind) {
  Kernels chosen;
  std::copy_if(kernels.begin(), kernels.end(), std::back_inserter(chosen),
               [&](const MeasuredKernel& kernel) { return kernel.kind == kind; });
  return chosen;
}

template <class TimeOf>
void add_errors(const Kernels& products, const TimeOf& time_s, Vector& errors) {
  for (const auto& kernel : products) {
    errors.push_back(std::abs(time_s(kernel) / kernel.time_s - 1));
  }
}

// Products that are held out together: those of a model, or of every second shape.
std::vector<Kernels> folds_of(const Kernels& products, std::string& held_out_by) {
  std::map<std::string, Kernels> by_model;
  std::set<std::pair<std::int64_t, std::int64_t>> shapes;
  for (const auto& kernel : products) {
    by_model[kernel.model].push_back(kernel);
    shapes.insert({kernel.n, kernel.k});
  }
  const auto num_models = std::count_if(by_model.begin(), by_model.end(), [](const auto& entry) {
    return entry.second.size() >= kLeastPerModel;
  });
  std::vector<Kernels> folds;
  if (num_models >= 2) {
    held_out_by = "model";
    for (auto& [model, kernels] : by_model) {
      if (kernels.size() >= kLeastPerModel) folds.push_back(std::move(kernels));
    }
    return folds;
  }
  held_out_by = "shape";
  folds.resize(2);
  for (const auto& kernel : products) {
    const auto place = std::distance(shapes.begin(), shapes.find({kernel.n, kernel.k}));
    folds[static_cast<std::size_t>(place % 2)].push_back(kernel);
  }
  std::erase_if(folds, [](const Kernels& fold) { return fold.empty(); });
  return folds;
}

GpuTimeError held_out_error(const GpuTimes& machine, const Kernels& products,
                            std::string& held_out_by) {
  const std::vector<Kernels> folds = folds_of(products, held_out_by);
  Vector errors;
  for (const Kernels& test : folds) {
    Kernels rest;
    for (const Kernels& fold : folds) {
      if (&fold != &test) rest.insert(rest.end(), fold.begin(), fold.end());
    }
    const GpuTimes times = fit_products(machine, rest.empty() ? test : rest);
    add_errors(
        test,
        [&](const MeasuredKernel& kernel) {
          return times.matrix_s(kernel.m, kernel.n, kernel.k, 1, 2, false);
        },
        errors);
  }
  return time_error(errors);
}

}  // namespace

void check_operator_size(std::int64_t m, std::int64_t n, std::int64_t k) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(m, n, &product) || __builtin_mul_overflow(product, k, &product)) {
    throw ConfigError(fmt::format("m x n x k = {} x {} x {} does not fit in 63 bits", m, n, k));
  }
}

std::vector<std::pair<std::string, Kernels>> read_measured_kernels(const CsvTable& table) {
  std::vector<std::pair<std::string, Kernels>> by_gpu;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string& gpu = table.text(row, "gpu");
    auto entry = std::find_if(by_gpu.begin(), by_gpu.end(),
                              [&](const auto& known) { return known.first == gpu; });
    if (entry == by_gpu.end()) entry = by_gpu.insert(by_gpu.end(), {gpu, {}});
    entry->second.push_back({.kind = table.text(row, "kind"),
                             .model = table.has_column("model") ? table.text(row, "model") : "",
                             .m = table.count(row, "m"),
                             .n = table.count(row, "n"),
                             .k = table.count(row, "k"),
                             .time_s = table.positive(row, "time_ms") * 1e-3});
  }
  return by_gpu;
}

double kernel_s(const GpuModel& gpu, const std::string& kind, std::int64_t m, std::int64_t n,
                std::int64_t k) {
  check_operator_size(m, n, k);
  if (kind == "matmul") return gpu.linear(m, n, k, 1).latency_ns * 1e-9;
  if (kind == "norm") return gpu.elementwise(OperatorKind::kNorm, m, n, 1).latency_ns * 1e-9;
  if (kind == "act") {
    const double bytes = kGatedAccesses * 2 * static_cast<double>(m) * static_cast<double>(n);
    return gpu.elementwise(OperatorKind::kActivation, m, n, 1, bytes).latency_ns * 1e-9;
  }
  throw ConfigError(fmt::format("kind: must be one of matmul, norm, act; got '{}'", kind));
}

GpuFit fit_gpu(const SystemPreset& start, const Kernels& kernels, const std::string& source) {
  const Kernels products = of_kind(kernels, "matmul");
  if (products.size() < kLeastProducts) {
    throw ConfigError(fmt::format("{}: {} matrix products of {}; at least {} are needed for a fit",
                                  source, products.size(), start.name, kLeastProducts));
  }
  GpuFit fit;
  fit.preset = start;
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> sizes;
  for (const auto& kernel : products) sizes.insert({kernel.m, kernel.n, kernel.k});
  if (sizes.size() < kLeastProducts) {
    throw ConfigError(
        fmt::format("{}: the {} matrix products of {} have {} different sizes; at least {} are "
                    "needed for a fit",
                    source, products.size(), start.name, sizes.size(), kLeastProducts));
  }
  fit.num_products = static_cast<std::int64_t>(products.size());
  std::set<std::string> models;
  for (const auto& kernel : products) models.insert(kernel.model);
  fit.models.assign(models.begin(), models.end());
  std::map<std::string, double> values;

  const GpuTimes machine(start.with_hardware(/*as_built=*/true));
  const GpuTimes times = fit_products(machine, products);
  for (const auto& constant : kFitted) values[constant.key] = times.*constant.member;
  const SystemPreset reference = start.with_hardware(/*as_built=*/false);
  for (const auto& [kind, name, accesses] :
       {std::tuple("norm", "norm", 2.0), std::tuple("act", "activation", kGatedAccesses)}) {
    const Kernels rows = of_kind(kernels, kind);
    if (rows.size() < kLeastPerModel) continue;
    const std::string prefix = name;
    const GpuLine line = fit_line(rows, accesses,
                                  {.us_per_byte = reference.value(prefix + "_us_per_byte"),
                                   .launch_us = reference.value(prefix + "_launch_us")});
    values[prefix + "_us_per_byte"] = line.us_per_byte * start.value("memory_bytes_per_s") /
                                      start.value("elementwise_base_bytes_per_s");
    values[prefix + "_us_per_column"] = line.us_per_column;
    values[prefix + "_launch_us"] = line.launch_us;
  }
  fit.held_out = held_out_error(machine, products, fit.held_out_by);
  values["gemm_error_median_frac"] = fit.held_out.median_frac;
  values["gemm_error_p90_frac"] = fit.held_out.p90_frac;
  for (auto& constant : fit.preset.constants) {
    const auto value = values.find(constant.key);
    if (value == values.end()) continue;
    constant.value = four_digits(value->second);
    constant.source =
        fmt::format("fitted by lowbank estimate --fit to {} of {}; physical mode only",
                    constant.key.starts_with("gemm") ? fmt::format("{} products", products.size())
                                                     : "the elementwise kernels",
                    source);
    constant.uncertain =
        constant.key.starts_with("gemm")
            ? fmt::format(
                  "on products held out by {}: median error {:.1f} %, 90th "
                  "percentile {:.1f} %",
                  fit.held_out_by, 100 * fit.held_out.median_frac, 100 * fit.held_out.p90_frac)
            : "";
  }

  const auto error_of = [&](const SystemPreset& preset, EstimateMode mode) {
    const GpuModel gpu(preset, mode);
    Vector errors;
    add_errors(
        products,
        [&](const MeasuredKernel& kernel) {
          return kernel_s(gpu, kernel.kind, kernel.m, kernel.n, kernel.k);
        },
        errors);
    return time_error(errors);
  };
  fit.fitted = error_of(fit.preset, EstimateMode::kPhysical);
  fit.reference = error_of(start, EstimateMode::kReference);
  for (auto& constant : fit.preset.constants) {
    if (constant.key == "gemm_error_median_frac") {
      constant.reference = four_digits(fit.reference.median_frac);
    }
    if (constant.key == "gemm_error_p90_frac") {
      constant.reference = four_digits(fit.reference.p90_frac);
    }
  }
  return fit;
}

}  // namespace lowbank::pim
