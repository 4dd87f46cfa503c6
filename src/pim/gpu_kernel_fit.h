#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pim/csv_table.h"
#include "pim/gpu.h"
#include "pim/gpu_kernels.h"
#include "pim/preset.h"

namespace lowbank::pim {

/// What a table of measured GPU kernels tells of; known by its columns.
enum class KernelTable {
  kProducts,     ///< gpu, kind, m, n, k, dtype
  kAttention,    ///< gpu, phase, batch, query_heads, kv_heads, head_dim, query_tokens, ...
  kAllReduce,    ///< gpu, interconnect, collective, num_gpus, bytes, kind
  kElementwise,  ///< gpu, kind, m, n, bytes_read, bytes_written
  kStates        ///< gpu, operator, phase, batch, v_heads, head_k_dim, head_v_dim, ...
};

KernelTable kernel_table_of(const CsvTable& table);

/// The columns that such a table must have (and time_ms, where it was measured).
std::vector<std::string> kernel_columns(KernelTable form);

/// A row of a table, as far as the model knows its kind of kernel.
struct TimedKernel {
  std::string gpu;
  std::string kind;    ///< "prompt_attention", "decode_attention", "all_reduce", "activation", ...
  std::string source;  ///< engine or library that was timed
  std::uint64_t shape_hash = 0;  ///< of all but engine and time: rows are held out by it
  bool is_usual = true;  ///< above 30 us, 128 tokens, from 1 MB: sizes that errors are stated for
  bool is_launched = false;  ///< launches are in the time
  std::optional<double> time_s;
  // Of its kind.
  AttentionShape attention;
  double bytes = 0;
  double num_gpus = 0;
  bool is_direct = false;  ///< an engine's own all-reduce
  double columns = 0;
  double num_states = 0;
  double rows = 0;
  double state_bytes = 0;
};

/// The rows of a table that is not of products; nothing for a row that no rule is for (another
/// collective, a scan of a prompt). Errors: ConfigError naming the line.
std::vector<std::optional<TimedKernel>> read_timed_kernels(const CsvTable& table);

/// Modelled time.
double timed_kernel_s(const SystemPreset& gpu, const TimedKernel& kernel);

/// A kind of kernel that was fitted, or only compared.
struct KindFit {
  std::string kind;
  std::int64_t num_kernels = 0;
  std::int64_t num_usual = 0;
  bool is_fitted = false;
  /// Of the usual ones: each half on a fit to the other; as they are if not fitted.
  GpuTimeError held_out = {};
  std::vector<std::pair<std::string, GpuTimeError>> by_source = {};  ///< of them
};

/// Constants of one GPU fitted to the kernels of a table.
struct KernelFit {
  SystemPreset preset;
  std::vector<SystemPreset> links;  ///< of kind kLink: what else joined the GPUs
  std::vector<KindFit> kinds;
};

/// `source` says which data; all kernels are of one GPU and have times.
KernelFit fit_kernels(const SystemPreset& start, const std::vector<TimedKernel>& kernels,
                      const std::string& source);

}  // namespace lowbank::pim
