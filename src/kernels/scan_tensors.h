#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include <ATen/Parallel.h>
#include <torch/types.h>

#include "kernels/cpu/selective_scan_core.h"
#include "kernels/cuda_library.h"

// Helpers with which the scan and the convolution pass tensors to their cores, which take pointers.
namespace lowbank {

/// Errors: c10::Error if `tensor` has another shape than `wanted`, a type that is not floating, or
/// another device than `like`.
inline void check_operand(const char* function, const char* name, const torch::Tensor& tensor,
                          at::IntArrayRef wanted, const torch::Tensor& like) {
  TORCH_CHECK(tensor.sizes() == wanted, function, ": ", name, " must be ", wanted, ", got ",
              tensor.sizes());
  TORCH_CHECK(tensor.is_floating_point() && tensor.device() == like.device(), function, ": ", name,
              " must be of a floating type on ", like.device(), ", got ", tensor.dtype(), " on ",
              tensor.device());
}

/// The type of the computation: double if u is double, else float32.
inline torch::ScalarType scan_type(const torch::Tensor& u) {
  return u.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

inline torch::Tensor to_type(const torch::Tensor& tensor, torch::ScalarType type) {
  return tensor.defined() ? tensor.to(type) : tensor;
}

inline torch::Tensor with_contiguous_rows(const torch::Tensor& tensor) {
  const bool is_contiguous = !tensor.defined() || tensor.size(-1) <= 1 || tensor.stride(-1) == 1;
  return is_contiguous ? tensor : tensor.contiguous();
}

inline torch::Tensor contiguous_if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.contiguous() : tensor;
}

inline std::optional<torch::Tensor> if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

template <class T>
TokenRows<const T> rows_of(const torch::Tensor& tensor_BTX, std::int64_t sequence) {
  if (!tensor_BTX.defined()) return {};
  return {tensor_BTX.const_data_ptr<T>() + sequence * tensor_BTX.stride(0), tensor_BTX.stride(1)};
}

template <class T>
TokenRows<T> mutable_rows_of(const torch::Tensor& tensor_BTX, std::int64_t sequence) {
  if (!tensor_BTX.defined()) return {};
  return {tensor_BTX.mutable_data_ptr<T>() + sequence * tensor_BTX.stride(0), tensor_BTX.stride(1)};
}

template <class T>
T* part_of(const torch::Tensor& tensor, std::int64_t sequence) {
  return tensor.defined() ? tensor.mutable_data_ptr<T>() + sequence * tensor.stride(0) : nullptr;
}

template <class T>
const T* data_of(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

inline LowbankCudaRows cuda_rows_of(const torch::Tensor& tensor_BTX) {
  if (!tensor_BTX.defined()) return {};
  return {tensor_BTX.const_data_ptr<float>(), tensor_BTX.stride(0), tensor_BTX.stride(1)};
}

/// Calls function(sequence, group) for all groups, in parallel if there is enough work for several
/// threads. `channel_cost` is the number of updates for one channel of one sequence.
template <class Function>
void for_groups(const torch::Tensor& u_BTD, std::int64_t channel_cost, const Function& function) {
  constexpr std::int64_t kTaskCost = std::int64_t{1} << 15;  // about 10 us of work
  const auto num_groups = num_scan_groups(u_BTD.size(2));
  const auto grain = std::max<std::int64_t>(
      1, kTaskCost / std::max<std::int64_t>(1, channel_cost * kScanGroupChannels));
  at::parallel_for(0, u_BTD.size(0) * num_groups, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) function(i / num_groups, i % num_groups);
  });
}

/// Sum along the dimension, added one by one, so that the bits do not depend on the number of
/// threads.
inline torch::Tensor sum_in_order(const torch::Tensor& parts, std::int64_t dim) {
  auto sum = parts.select(dim, 0).clone();
  for (std::int64_t i = 1; i < parts.size(dim); ++i) sum.add_(parts.select(dim, i));
  return sum;
}

}  // namespace lowbank
