#pragma once

#include <algorithm>
#include <cstdint>

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include "kernels/cpu/cpu_kernels.h"

// Helpers to inspect and create tensors without LibTorch's dispatcher, which costs more than the
// work on one token.
namespace lowbank {

/// Whether our loops serve the device of x. If not, LibTorch's operators do.
inline bool runs_cpu_kernels(const at::Tensor& x) { return x.is_cpu() && uses_cpu_kernels(); }

/// Whether our loops serve the device and the type of x.
inline bool is_vector_tensor(const at::Tensor& x) {
  return runs_cpu_kernels(x) &&
         (x.scalar_type() == c10::kFloat || x.scalar_type() == c10::kBFloat16);
}

/// The same, and the elements of a row (the last dimension) are adjacent in memory.
inline bool has_vector_rows(const at::Tensor& x) {
  return is_vector_tensor(x) && x.dim() >= 1 && (x.stride(-1) == 1 || x.size(-1) == 1);
}

/// The index of x's type in the arrays of CpuKernels.
inline int vector_type(const at::Tensor& x) {
  return static_cast<int>(x.scalar_type() == c10::kFloat ? VectorType::kFloat
                                                         : VectorType::kBfloat16);
}

inline at::Tensor empty_cpu(c10::IntArrayRef sizes, c10::ScalarType type) {
  return at::Tensor(at::detail::empty_cpu(sizes, type));
}

inline bool wants_grad(const at::Tensor& x) {
  return c10::GradMode::is_enabled() && x.requires_grad();
}

/// The smallest number of rows of `size` elements for which it is worth waking a thread. `cost` is
/// the work per element, relative to one pass over memory.
inline std::int64_t row_grain(std::int64_t size, std::int64_t cost = 1) {
  constexpr std::int64_t kMinTask = 16384;
  return std::max<std::int64_t>(1, kMinTask / (size * cost + 1));
}

/// Our backward functions cannot be differentiated. Errors: c10::Error if that is attempted.
inline void check_first_derivative(const char* name) {
  TORCH_CHECK(!c10::GradMode::is_enabled(), name, ": has no second derivative");
}

}  // namespace lowbank
