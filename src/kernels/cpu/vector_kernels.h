#pragma once

#include <cstdint>

#include "kernels/cpu/cpu_isa.h"

namespace lowbank {

/// Types that the vector kernels read and write; they compute in float32.
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

/// Rows [begin, end) of y = x / sqrt(mean(x^2) + eps) * weight, all of one type; with `residual`,
/// sum = x + residual takes the place of x.
struct RmsNormRows {
  const void* x = nullptr;         ///< [*, size]
  const void* residual = nullptr;  ///< [*, size] or null
  const void* weight = nullptr;    ///< [size]
  void* out = nullptr;             ///< [*, size]
  void* sum = nullptr;             ///< [*, size] where residual is given
  float* scale = nullptr;          ///< [*]: 1 / sqrt(mean(x^2) + eps), or null
  float eps = 0.0f;
  std::int64_t size = 0;
  std::int64_t begin = 0, end = 0;
};

/// The gradients of rows [begin, end): of x, and those of the weight added to float32 sums.
struct RmsNormGradRows {
  const void* grad = nullptr;      ///< [*, size]
  const void* grad_sum = nullptr;  ///< [*, size] or null: added to the gradient of x
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

/// The heads of one position turned by its cosines and sines, or back.
struct RotaryHeads {
  const void* x = nullptr;        ///< [num_heads, size], heads x_stride apart
  const void* cosines = nullptr;  ///< [size]
  const void* sines = nullptr;    ///< [size], of rotate_half's sign
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
  const bool* mask = nullptr;      ///< [num_keys], false: not seen; or null
  float* weighted = nullptr;       ///< [num_heads, size]
  float* highest = nullptr;        ///< [num_heads]; -inf if no key is seen
  float* total = nullptr;          ///< [num_heads]
  std::int64_t num_heads = 0, num_keys = 0, size = 0, key_stride = 0, value_stride = 0;
};

/// The inner loops of this room, compiled once for each vector extension from vector_loops.h.
/// They know neither tensors nor threads. Arrays are indexed by VectorType.
struct VectorKernels {
  using Widen = void (*)(float* out, const void* x, std::int64_t size);
  using Narrow = void (*)(void* out, const float* x, std::int64_t size);
  using Exp = void (*)(float* out, const float* x, std::int64_t size);
  using AddScaled = void (*)(float* sum, const float* x, float factor, std::int64_t size);
  using OrderX = void (*)(float* out, const void* x, std::int64_t num_x, std::int64_t num_in);
  using Linear = void (*)(const LinearRows& rows);
  using RmsNorm = void (*)(const RmsNormRows& rows);
  using RmsNormGrad = void (*)(const RmsNormGradRows& rows);
  using Swiglu = void (*)(const SwigluRows& rows);
  using Rotary = void (*)(const RotaryHeads& heads);
  using Attend = void (*)(const AttendKeys& keys);

  const char* name = "";
  Widen widen[kNumVectorTypes] = {};    ///< to float32
  Narrow narrow[kNumVectorTypes] = {};  ///< from float32
  Exp exp = nullptr;  ///< relative error at most 2e-7; 0 below -87.3, e^88.3 above 88.3
  AddScaled add_scaled = nullptr;  ///< sum += factor x
  /// [weight][x]: x as `linear` of that weight wants it; null where it takes x as it is.
  OrderX order_x[kNumVectorTypes][kNumVectorTypes] = {};
  Linear linear[kNumVectorTypes][kNumVectorTypes] = {};  ///< [weight][out]
  RmsNorm rms_norm[kNumVectorTypes] = {};
  RmsNormGrad rms_norm_grad[kNumVectorTypes] = {};
  Swiglu swiglu[kNumVectorTypes] = {};
  Swiglu swiglu_grad[kNumVectorTypes] = {};
  Rotary rotary[kNumVectorTypes] = {};
  Attend attend[kNumVectorTypes] = {};
};

/// What the kernels of this room call: of best_cpu_isa(), unless a test chose another.
const VectorKernels& vector_kernels();

/// For tests. Errors: c10::Error if the processor lacks it.
void use_cpu_isa(CpuIsa extension);

}  // namespace lowbank
