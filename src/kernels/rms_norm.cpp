#include "kernels/rms_norm.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

torch::Tensor plain_rms_norm(const torch::Tensor& x_D, const torch::Tensor& weight_D, double eps) {
  const auto wide_D = x_D.scalar_type() == c10::kDouble ? x_D : x_D.to(c10::kFloat);
  const auto scale = wide_D.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  return (wide_D * scale).to(x_D.scalar_type()) * weight_D;
}

bool serves_rms_norm(const torch::Tensor& x_D, const torch::Tensor& weight_D) {
  return is_vector_tensor(x_D) && x_D.dim() >= 1 && x_D.numel() > 0 && weight_D.is_cpu() &&
         weight_D.scalar_type() == x_D.scalar_type() && weight_D.is_contiguous();
}

struct NormResult {
  torch::Tensor normed, sum, scale;
};

// `residual` may be undefined. `scale` is computed only if a backward pass needs it.
NormResult run_rms_norm(const torch::Tensor& x_D, const torch::Tensor& residual_D,
                        const torch::Tensor& weight_D, double eps, bool keeps_scale) {
  const std::int64_t size = x_D.size(-1), num_rows = x_D.numel() / size;
  NormResult result;
  result.normed = empty_cpu(x_D.sizes(), x_D.scalar_type());
  RmsNormRows rows{.x = x_D.const_data_ptr(),
                   .weight = weight_D.const_data_ptr(),
                   .out = result.normed.mutable_data_ptr(),
                   .eps = static_cast<float>(eps),
                   .size = size};
  if (residual_D.defined()) {
    result.sum = empty_cpu(x_D.sizes(), x_D.scalar_type());
    rows.residual = residual_D.const_data_ptr();
    rows.sum = result.sum.mutable_data_ptr();
  }
  if (keeps_scale) {
    result.scale = empty_cpu({num_rows}, c10::kFloat);
    rows.scale = result.scale.mutable_data_ptr<float>();
  }
  const auto run = cpu_kernels().rms_norm[vector_type(x_D)];
  at::parallel_for(0, num_rows, row_grain(size), [&](std::int64_t begin, std::int64_t end) {
    RmsNormRows part = rows;
    part.begin = begin;
    part.end = end;
    run(part);
  });
  return result;
}

struct NormGrads {
  torch::Tensor x, weight;
};

NormGrads run_rms_norm_grad(const torch::Tensor& grad_D, const torch::Tensor& grad_sum_D,
                            const torch::Tensor& x_D, const torch::Tensor& weight_D,
                            const torch::Tensor& scale, bool wants_weight) {
  const std::int64_t size = x_D.size(-1), num_rows = x_D.numel() / size;
  const auto grad = grad_D.contiguous();
  const auto grad_sum = grad_sum_D.defined() ? grad_sum_D.contiguous() : grad_sum_D;
  NormGrads grads;
  grads.x = empty_cpu(x_D.sizes(), x_D.scalar_type());
  // The weight's gradient is summed in slices of the rows; the slices depend on the number of rows
  // only, so that the result does not depend on the number of threads.
  constexpr std::int64_t kMinSlice = 16, kMaxSlices = 64;
  const std::int64_t slice = std::max(kMinSlice, (num_rows + kMaxSlices - 1) / kMaxSlices);
  const std::int64_t num_slices = (num_rows + slice - 1) / slice;
  torch::Tensor sums;
  float* sums_data = nullptr;
  if (wants_weight) {
    sums = empty_cpu({num_slices, size}, c10::kFloat);
    sums_data = sums.mutable_data_ptr<float>();
  }
  const RmsNormGradRows rows{.grad = grad.const_data_ptr(),
                             .grad_sum = grad_sum.defined() ? grad_sum.const_data_ptr() : nullptr,
                             .x = x_D.const_data_ptr(),
                             .weight = weight_D.const_data_ptr(),
                             .scale = scale.const_data_ptr<float>(),
                             .grad_x = grads.x.mutable_data_ptr(),
                             .size = size};
  const auto& kernels = cpu_kernels();
  const int type = vector_type(x_D);
  at::parallel_for(0, num_slices, row_grain(slice * size),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                       RmsNormGradRows part = rows;
                       part.begin = i * slice;
                       part.end = std::min(num_rows, part.begin + slice);
                       if (wants_weight) {
                         part.grad_weight = sums_data + i * size;
                         std::fill_n(part.grad_weight, size, 0.0f);
                       }
                       kernels.rms_norm_grad[type](part);
                     }
                   });
  if (wants_weight) {
    for (std::int64_t i = 1; i < num_slices; ++i) {
      kernels.add_scaled(sums_data, sums_data + i * size, 1.0f, size);
    }
    grads.weight = empty_cpu({size}, x_D.scalar_type());
    kernels.narrow[type](grads.weight.mutable_data_ptr(), sums_data, size);
  }
  return grads;
}

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_D,
                               const torch::Tensor& weight_D, double eps) {
    auto result = run_rms_norm(x_D, {}, weight_D, eps, /*keeps_scale=*/true);
    ctx->save_for_backward({x_D, weight_D, result.scale});
    return result.normed;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("rms_norm");
    const auto saved = ctx->get_saved_variables();
    auto result =
        run_rms_norm_grad(grads[0], {}, saved[0], saved[1], saved[2], ctx->needs_input_grad(1));
    return {result.x, result.weight, {}};
  }
};

class AddRmsNormFunction : public torch::autograd::Function<AddRmsNormFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const torch::Tensor& x_D,
                               const torch::Tensor& residual_D, const torch::Tensor& weight_D,
                               double eps) {
    auto result = run_rms_norm(x_D, residual_D, weight_D, eps, /*keeps_scale=*/true);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({result.sum, weight_D, result.scale});
    return {result.sum, result.normed};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("add_rms_norm");
    if (!grads[1].defined()) return {grads[0], grads[0], {}, {}};
    const auto saved = ctx->get_saved_variables();
    auto result = run_rms_norm_grad(grads[1], grads[0], saved[0], saved[1], saved[2],
                                    ctx->needs_input_grad(2));
    return {result.x, result.x, result.weight, {}};
  }
};

}  // namespace

torch::Tensor rms_norm(const torch::Tensor& x_D, const torch::Tensor& weight_D, double eps) {
  TORCH_CHECK(x_D.dim() >= 1 && weight_D.dim() == 1 && weight_D.size(0) == x_D.size(-1),
              "rms_norm: weight ", weight_D.sizes(), " does not fit x ", x_D.sizes());
  if (!serves_rms_norm(x_D, weight_D)) return plain_rms_norm(x_D, weight_D, eps);
  const auto x = x_D.contiguous();
  if (wants_grad(x_D) || wants_grad(weight_D)) return RmsNormFunction::apply(x, weight_D, eps);
  return run_rms_norm(x, {}, weight_D, eps, /*keeps_scale=*/false).normed;
}

AddRmsNorm add_rms_norm(const torch::Tensor& x_D, const torch::Tensor& residual_D,
                        const torch::Tensor& weight_D, double eps) {
  TORCH_CHECK(x_D.dim() >= 1 && weight_D.dim() == 1 && weight_D.size(0) == x_D.size(-1) &&
                  x_D.sizes() == residual_D.sizes(),
              "add_rms_norm: x ", x_D.sizes(), ", residual ", residual_D.sizes(), " and weight ",
              weight_D.sizes(), " do not fit");
  if (!serves_rms_norm(x_D, weight_D) || !residual_D.is_cpu() ||
      residual_D.scalar_type() != x_D.scalar_type()) {
    auto sum_D = x_D + residual_D;
    auto normed_D = plain_rms_norm(sum_D, weight_D, eps);
    return {.sum_D = std::move(sum_D), .normed_D = std::move(normed_D)};
  }
  const auto x = x_D.contiguous(), residual = residual_D.contiguous();
  if (wants_grad(x_D) || wants_grad(residual_D) || wants_grad(weight_D)) {
    auto outs = AddRmsNormFunction::apply(x, residual, weight_D, eps);
    return {.sum_D = outs[0], .normed_D = outs[1]};
  }
  auto result = run_rms_norm(x, residual, weight_D, eps, /*keeps_scale=*/false);
  return {.sum_D = std::move(result.sum), .normed_D = std::move(result.normed)};
}

}  // namespace lowbank
