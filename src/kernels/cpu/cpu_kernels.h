#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/causal_conv_core.h"
#include "kernels/cpu/cpu_isa.h"
#include "kernels/cpu/selective_scan_core.h"

// The loops of this folder, without tensors and threads.
namespace lowbank {

/// The types of tensors that the loops read and write. The loops compute in float32.
enum class VectorType { kFloat, kBfloat16 };
inline constexpr int kNumVectorTypes = 2;

/// Rows [begin, end) of `weight`, each times every row of x: out[m][o] = x[m] . weight[o] +
/// bias[o].
struct LinearRows {
  const float* x = nullptr;      ///< [num_x, num_in], in the order that order_x gives
  const void* weight = nullptr;  ///< [*, num_in]
  const void* bias = nullptr;    ///< [*] of the weight's type, or null
  void* out = nullptr;           ///< [num_x, out_stride]
  std::int64_t num_x = 0, num_in = 0, out_stride = 0;
  std::int64_t begin = 0, end = 0;
};

/// Rows [begin, end) of y = x / sqrt(mean(x^2) + eps) * weight, all of one type. If `residual` is
/// given, sum = x + residual is normalised instead of x.
struct RmsNormRows {
  const void* x = nullptr;         ///< [*, size]
  const void* residual = nullptr;  ///< [*, size] or null
  const void* weight = nullptr;    ///< [size]
  void* out = nullptr;             ///< [*, size]
  void* sum = nullptr;             ///< [*, size]; null without residual
  float* scale = nullptr;          ///< [*]: 1 / sqrt(mean(x^2) + eps), or null
  float eps = 0.0f;
  std::int64_t size = 0;
  std::int64_t begin = 0, end = 0;
};

/// The gradients of rows [begin, end). Those of the weight are added to sums in float32.
struct RmsNormGradRows {
  const void* grad = nullptr;      ///< [*, size]
  const void* grad_sum = nullptr;  ///< [*, size] or null; is added to the gradient of x
  const void* x = nullptr;         ///< [*, size]
  const void* weight = nullptr;    ///< [size]
  const float* scale = nullptr;    ///< [*]
  void* grad_x = nullptr;          ///< [*, size]
  float* grad_weight = nullptr;    ///< [size] or null
  std::int64_t size = 0;
  std::int64_t begin = 0, end = 0;
};

/// Rows [begin, end) of silu(gate) * up, and of its gradients.
struct SwigluRows {
  const void* gate = nullptr;  ///< [*, size], rows gate_stride apart
  const void* up = nullptr;    ///< [*, size], rows up_stride apart
  const void* grad = nullptr;  ///< [*, size]; gradients only
  void* out = nullptr;         ///< [*, size]; not for gradients
  void* grad_gate = nullptr;   ///< [*, size], rows grad_stride apart
  void* grad_up = nullptr;     ///< [*, size], rows grad_stride apart
  std::int64_t size = 0, gate_stride = 0, up_stride = 0, grad_stride = 0;
  std::int64_t begin = 0, end = 0;
};

/// The heads of one position, rotated by the position's cosines and sines, or rotated back.
struct RotaryHeads {
  const void* x = nullptr;        ///< [num_heads, size], heads x_stride apart
  const void* cosines = nullptr;  ///< [size]
  const void* sines = nullptr;    ///< [size], with the signs of rotate_half
  void* out = nullptr;            ///< [num_heads, size], heads out_stride apart
  std::int64_t num_heads = 0, size = 0, x_stride = 0, out_stride = 0;
  bool is_backward = false;
};

/// Attention of the heads of one key head over `num_keys` <= kMaxKeys keys, unnormalised:
/// weighted[h] = sum_s exp(q_h . k_s - highest[h]) v_s, total[h] = sum_s exp(...).
struct AttendKeys {
  static constexpr std::int64_t kMaxKeys = 128;
  const float* queries = nullptr;  ///< [num_heads, size], scaled
  const void* keys = nullptr;      ///< [num_keys, size], rows key_stride apart
  const void* values = nullptr;    ///< [num_keys, size], rows value_stride apart
  const bool* mask = nullptr;      ///< [num_keys], false for keys that are not seen; or null
  float* weighted = nullptr;       ///< [num_heads, size]
  float* highest = nullptr;        ///< [num_heads]; -inf if no key is seen
  float* total = nullptr;          ///< [num_heads]
  std::int64_t num_heads = 0, num_keys = 0, size = 0, key_stride = 0, value_stride = 0;
};

/// Which elements dropout zeroes, and the factor for the others.
struct DropoutRule {
  std::uint64_t key = 0, stream = 0;  ///< those of a RandomKey
  std::uint32_t threshold = 0;        ///< an element is zeroed if its 16 random bits are below this
  float scale = 1.0f;                 ///< factor of the elements that are kept
};

/// The loops as compiled for one instruction set. Arrays are indexed by VectorType.
///
/// Bits:  `dropout`, `draw_normals`, `widen`, `narrow` and `order_x` give the same bits on every
///        processor. `rotary`, `swiglu`, `nll`, `add_scaled`, the convolution and their gradients
///        give the same with AVX2 and AVX-512; without fused multiply-adds the last bits differ.
///        `linear`, `rms_norm`, `attend` and the scan sum over lanes, so that their last bits
///        depend on the set. The tests compare every loop of every set with float64, within bounds
///        that are given there.
struct CpuKernels {
  using Widen = void (*)(float* out, const void* x, std::int64_t size);
  using Narrow = void (*)(void* out, const float* x, std::int64_t size);
  using OrderX = void (*)(float* out, const void* x, std::int64_t num_x, std::int64_t num_in);
  using Linear = void (*)(const LinearRows& rows);
  using RmsNorm = void (*)(const RmsNormRows& rows);
  using RmsNormGrad = void (*)(const RmsNormGradRows& rows);
  using Swiglu = void (*)(const SwigluRows& rows);
  using Rotary = void (*)(const RotaryHeads& heads);
  using Attend = void (*)(const AttendKeys& keys);
  using Dropout = void (*)(void* out, const void* x, std::int64_t size, std::uint64_t first_index,
                           const DropoutRule& rule);
  using Map = void (*)(const float* x, float* out, std::int64_t size);

  Widen widen[kNumVectorTypes] = {};    ///< to float32
  Narrow narrow[kNumVectorTypes] = {};  ///< from float32
  /// sum += factor x
  void (*add_scaled)(float* sum, const float* x, float factor, std::int64_t size) = nullptr;
  /// [weight][x]: puts x into the order that `linear` of that weight expects; null if that is the
  /// plain order in float32.
  OrderX order_x[kNumVectorTypes][kNumVectorTypes] = {};
  Linear linear[kNumVectorTypes][kNumVectorTypes] = {};  ///< [weight][out]
  RmsNorm rms_norm[kNumVectorTypes] = {};
  RmsNormGrad rms_norm_grad[kNumVectorTypes] = {};
  Swiglu swiglu[kNumVectorTypes] = {};
  Swiglu swiglu_grad[kNumVectorTypes] = {};
  Rotary rotary[kNumVectorTypes] = {};
  Attend attend[kNumVectorTypes] = {};

  /// -log softmax(logits)[target] of one row. The largest logit is subtracted before exp, and sums
  /// of 256 terms are added in float64. NaN and +inf give NaN.
  float (*nll)(const float* logits, std::int64_t size, std::int64_t target) = nullptr;
  /// The same, and overwrites the row with its gradient, softmax(logits) - onehot(target).
  float (*nll_to_gradient)(float* logits, std::int64_t size, std::int64_t target) = nullptr;

  // Called by the functions of selective_scan_core.h and causal_conv_core.h, which allocate
  // scratch.
  void (*scan_forward)(const ScanForward<float>&, std::int64_t group, void* scratch) = nullptr;
  void (*scan_backward)(const ScanBackward<float>&, std::int64_t group, void* scratch) = nullptr;
  void (*conv_forward)(const ConvForward<float>&, std::int64_t group) = nullptr;
  void (*conv_backward)(const ConvBackward<float>&, std::int64_t group, void* scratch) = nullptr;

  /// out[i] = x[i] scaled or zeroed, as element first_index + i of the rule's stream decides.
  Dropout dropout[kNumVectorTypes] = {};
  /// out[i] = element first_index + i of the stream's standard normal numbers.
  void (*draw_normals)(float* out, std::int64_t size, std::uint64_t key, std::uint64_t stream,
                       std::uint64_t first_index) = nullptr;

  // The functions of pack.h, for tests of their bounds.
  Map exp = nullptr;
  void (*exp2_product)(const float* x, const float* factor, float* out,
                       std::int64_t size) = nullptr;
  Map softplus = nullptr;
  Map sigmoid = nullptr;
};

/// The table of `cpu_isa()`.
const CpuKernels& cpu_kernels();

// What the sources of this folder define for each other.
namespace portable {
const CpuKernels& kernels();
void draw_normals(float* out, std::int64_t size, std::uint64_t key, std::uint64_t stream,
                  std::uint64_t first_index);
}  // namespace portable
namespace avx2 {
const CpuKernels& kernels();
void draw_normals(float* out, std::int64_t size, std::uint64_t key, std::uint64_t stream,
                  std::uint64_t first_index);
}  // namespace avx2
namespace avx512 {
const CpuKernels& kernels();
void draw_normals(float* out, std::int64_t size, std::uint64_t key, std::uint64_t stream,
                  std::uint64_t first_index);
}  // namespace avx512
void scan_forward_in_double(const ScanForward<double>& scan, std::int64_t group, void* scratch);
void scan_backward_in_double(const ScanBackward<double>& scan, std::int64_t group, void* scratch);
void conv_forward_in_double(const ConvForward<double>& conv, std::int64_t group);
void conv_backward_in_double(const ConvBackward<double>& conv, std::int64_t group, void* scratch);

}  // namespace lowbank
