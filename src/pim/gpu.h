#pragma once

#include <cstdint>
#include <string>

#include "pim/cost.h"
#include "pim/gpu_kernels.h"
#include "pim/gpu_times.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank::pim {

/// count products [m, k] x [k, n] of elements that are multiplied at `element_bytes` bytes.
struct MatrixShape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t count = 1;
  std::int64_t element_bytes = 2;
  // Of an element in memory, 0 = element_bytes: a cache, state or weight of another format.
  double matrix_bytes = 0;  ///< of [k, n]
  double result_bytes = 0;  ///< of [m, n]

  double stored_matrix_bytes() const {
    return matrix_bytes > 0 ? matrix_bytes : static_cast<double>(element_bytes);
  }
  double stored_result_bytes() const {
    return result_bytes > 0 ? result_bytes : static_cast<double>(element_bytes);
  }
};

/// What decides the time and energy of matrix products on a GPU.
struct MatrixTiling {
  std::int64_t tile_m = 0;  ///< output tile of one core
  std::int64_t tile_n = 0;
  double utilisation = 0;  ///< of the cores, over all waves; in (0, 1]
  double l2_bytes = 0;     ///< read and written at the L2 by the cores' tiles
  double dram_bytes = 0;   ///< read and written off chip by the L2's tiles
};

/// Time and energy of a kernel, in numbers only: some callers sum millions of them.
struct GpuCost {
  double latency_ns = 0;
  double dram_pj = 0;
  double l2_pj = 0;
  double l1_pj = 0;
  double register_pj = 0;
  double alu_pj = 0;
  double link_pj = 0;

  double on_chip_pj() const { return l2_pj + l1_pj + register_pj + alu_pj; }
  GpuCost times(double count) const;
  GpuCost plus(const GpuCost& other) const;
  OperatorCost named() const;
};

/// The line of elementwise kernels whose constants begin with `kind`; that of activations where a
/// preset has none.
GpuLine gpu_line(const SystemPreset& preset, const std::string& kind);

/// |time / measured - 1| of kernels of a kind.
struct GpuTimeError {
  double median_frac = 0;
  double p90_frac = 0;
};

/// Roofline of a GPU with tiles chosen for its caches.
///
/// Source:  Pimba simulator (MICRO 2025), as described in docs/estimate.md.
/// Differs: the reference searches all L2 tiles; this looks only at those that need fewer passes
///          than the one before, with the same result. Physical mode: times of GpuTimes and
///          gpu_kernels.h, elementwise kernels use all cores and their true bytes, register energy
///          counts every operator and the elements' bytes, energies are those of the tiles that move
///          least of those that the times choose from, so that they grow with every size.
class GpuModel {
 public:
  /// Errors: ConfigError for constants that do not work together.
  /// `links` in place of the preset's own, for all-reduces.
  GpuModel(const SystemPreset& preset, const Corrections& corrections,
           const SystemPreset* links = nullptr);

  /// count linears that run one after the other; weights in the GPU's own format.
  /// `bytes_per_weight` in memory, 0 = as multiplied.
  GpuCost linear(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t count,
                 double bytes_per_weight = 0) const;
  /// Linears that run side by side in one kernel, tiled as a single one is.
  GpuCost linears(const MatrixShape& shape) const { return matrix(shape, /*is_linear=*/true); }
  /// A batch of products that run side by side in one kernel: attention, state updates.
  GpuCost batched(const MatrixShape& shape) const;
  /// `kind` is kSoftmax (count side by side), kNorm, kActivation or kEmbedding (count in turn).
  /// `bytes` moved by one, 0 = each element once in and once out; the reference's rule has its own.
  GpuCost elementwise(OperatorKind kind, std::int64_t m, std::int64_t n, std::int64_t count,
                      double bytes = 0) const;
  /// One kernel that reads and writes `bytes` in rows of `columns`, at the pace of an activation.
  GpuCost streamed(double bytes, std::int64_t columns, std::int64_t macs) const;
  /// Attention of a prompt, or of a decode step, as one kernel.
  GpuCost attention(const AttentionShape& shape, bool is_decode) const;
  /// One step of `count` states [rows, columns] as one kernel.
  GpuCost state_update(std::int64_t rows, std::int64_t columns, std::int64_t count,
                       std::int64_t state_bytes) const;
  /// All GPUs of a tensor-parallel group add up `bytes` that each of them has; of one GPU.
  GpuCost all_reduce(double bytes, std::int64_t num_gpus) const;

  MatrixTiling tile(const MatrixShape& shape, bool is_linear) const;
  std::int64_t element_bytes() const { return element_bytes_; }
  /// How far the times of matrix products are from measured ones of models not fitted to.
  GpuTimeError time_error() const { return error_; }

 private:
  struct Energies {
    double dram = 0, l2 = 0, l1 = 0, registers = 0;  // pJ/B
    double alu = 0;                                  // pJ/MAC
    double link = 0;                                 // pJ/B
  };
  GpuCost matrix(const MatrixShape& shape, bool is_linear) const;
  MatrixTiling traffic(const MatrixShape& shape, bool is_linear) const;
  double wave_utilisation(double blocks) const;
  double best_dram_bytes(const MatrixShape& shape, std::int64_t tile_m, std::int64_t tile_n) const;

  Corrections corrections_;
  std::int64_t element_bytes_ = 2;
  double num_cores_ = 0;
  double l1_bytes_ = 0;
  double l2_bytes_ = 0;
  double flops_per_s_ = 0;  ///< reachable
  double bytes_per_s_ = 0;  ///< reachable
  GpuTimes times_;          ///< in place of the rates above where `fitted_gpu` is on
  PromptAttention prompt_attention_;
  DecodeAttention decode_attention_;
  StateUpdateTimes state_update_;
  AllReduceTimes all_reduce_;
  GpuLine softmax_, norm_, activation_, embedding_, link_;
  double link_bytes_per_s_ = 0;
  Energies pj_;
  GpuTimeError error_;
};

}  // namespace lowbank::pim
