#pragma once

#include <string>
#include <vector>

#include "pim/csv_table.h"
#include "pim/gpu.h"
#include "pim/preset.h"

namespace lowbank::pim {

/// A measured operator: "matmul" [m, k] x [k, n], or "norm" or "act" over m rows of n.
struct MeasuredKernel {
  std::string kind;
  std::string model;  ///< whose operator it is; "" = not told
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  double time_s = 0;
};

/// Rows of a table with columns gpu, kind, m, n, k, dtype, time_ms (and perhaps model), by GPU in
/// the order in which they first appear. Errors: ConfigError naming the line.
std::vector<std::pair<std::string, std::vector<MeasuredKernel>>> read_measured_kernels(
    const CsvTable& table);

/// Constants of a GPU's times fitted to measurement, and how good they are.
struct GpuFit {
  SystemPreset preset;  ///< the one given, with the fitted constants and their errors
  std::int64_t num_products = 0;
  std::string held_out_by;  ///< "model" or "shape": what a product is not fitted to
  GpuTimeError fitted;      ///< on the products fitted to
  GpuTimeError held_out;    ///< each on a fit without its own model or shape
  GpuTimeError reference;   ///< of the reference simulator's rule
  std::vector<std::string> models;
};

/// Errors: ConfigError for fewer than 40 products of different sizes.
GpuFit fit_gpu(const SystemPreset& start, const std::vector<MeasuredKernel>& kernels,
               const std::string& source);

/// Errors: ConfigError if m x n x k does not fit in 63 bits.
void check_operator_size(std::int64_t m, std::int64_t n, std::int64_t k);

/// Time of an operator of a table. Errors: ConfigError for an unknown kind; check_operator_size.
double kernel_s(const GpuModel& gpu, const std::string& kind, std::int64_t m, std::int64_t n,
                std::int64_t k);

}  // namespace lowbank::pim
