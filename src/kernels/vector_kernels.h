#pragma once

#include <cstdint>

namespace lowbank {

/// Types that the vector kernels read and write; they compute in float32.
enum class VectorType { kFloat, kBfloat16 };
inline constexpr int kNumVectorTypes = 2;

/// Rows [begin, end) of `weight`, each times every row of x: out[m][o] = x[m] . weight[o] +
/// bias[o].
struct LinearRows {
  const float* x = nullptr;      ///< [num_x, num_in]
  const void* weight = nullptr;  ///< [*, num_in]
  const void* bias = nullptr;    ///< [*] of the weight's type, or null
  void* out = nullptr;           ///< [num_x, out_stride]
  std::int64_t num_x = 0, num_in = 0, out_stride = 0;
  std::int64_t begin = 0, end = 0;
};

/// The inner loops of this room, compiled once for each vector extension from vector_loops.h.
/// They know neither tensors nor threads. Arrays are indexed by VectorType.
struct VectorKernels {
  using Widen = void (*)(float* out, const void* x, std::int64_t size);
  using Linear = void (*)(const LinearRows& rows);

  const char* name = "";
  Widen widen = nullptr;                                 ///< bfloat16 to float32
  Linear linear[kNumVectorTypes][kNumVectorTypes] = {};  ///< [weight][out]
};

enum class VectorExtension { kPortable, kAvx2, kAvx512 };

/// The widest one that this processor runs.
VectorExtension widest_vector_extension();

/// What the kernels of this room call: of the widest extension, unless a test chose another.
const VectorKernels& vector_kernels();

/// For tests. Errors: c10::Error if the processor lacks it.
void use_vector_extension(VectorExtension extension);

}  // namespace lowbank
