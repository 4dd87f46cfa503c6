#pragma once

#include <optional>

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>

#include "kernels/vector_kernels.h"

// What the kernels of this room share to look at tensors and make them without the dispatcher,
// which costs more than the work on one token.
namespace lowbank {

inline bool is_vector_type(c10::ScalarType type) {
  return type == c10::kFloat || type == c10::kBFloat16;
}

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

}  // namespace lowbank
