#include "kernels/rotary.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addcmul.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

torch::Tensor plain_rotary(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                           const torch::Tensor& sin_T1E) {
  const auto swapped_BTHE = x_BTHE.roll(x_BTHE.size(-1) / 2, -1);
  return at::addcmul(x_BTHE * cos_T1E, swapped_BTHE, sin_T1E).transpose(1, 2);
}

void check_rotary_shapes(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                         const torch::Tensor& sin_T1E) {
  TORCH_CHECK(x_BTHE.dim() == 4 && x_BTHE.size(3) % 2 == 0 && cos_T1E.dim() == 3 &&
                  cos_T1E.size(0) == x_BTHE.size(1) && cos_T1E.size(1) == 1 &&
                  cos_T1E.size(2) == x_BTHE.size(3) && sin_T1E.sizes() == cos_T1E.sizes(),
              "rotary: x ", x_BTHE.sizes(), " (E even) does not fit cos ", cos_T1E.sizes(),
              " and sin ", sin_T1E.sizes());
}

bool serves_rotary(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                   const torch::Tensor& sin_T1E) {
  const auto fits_x = [&](const torch::Tensor& table) {
    return table.is_cpu() && table.scalar_type() == x_BTHE.scalar_type() && table.is_contiguous() &&
           !table.requires_grad();
  };
  return has_vector_rows(x_BTHE) && x_BTHE.numel() > 0 && fits_x(cos_T1E) && fits_x(sin_T1E);
}

// x and out with any strides but 1 in the last dimension; both [B, T, H, E].
void run_rotary(const torch::Tensor& out_BTHE, const torch::Tensor& x_BTHE,
                const torch::Tensor& cos_T1E, const torch::Tensor& sin_T1E, bool is_backward) {
  const std::int64_t num_tokens = x_BTHE.size(1), num_heads = x_BTHE.size(2);
  const std::int64_t size = x_BTHE.size(3), item = x_BTHE.element_size();
  const auto* const x = static_cast<const char*>(x_BTHE.const_data_ptr());
  auto* const out = static_cast<char*>(out_BTHE.mutable_data_ptr());
  const auto* const cosines = static_cast<const char*>(cos_T1E.const_data_ptr());
  const auto* const sines = static_cast<const char*>(sin_T1E.const_data_ptr());
  const auto run = cpu_kernels().rotary[vector_type(x_BTHE)];
  const std::int64_t x_strides[] = {x_BTHE.stride(0), x_BTHE.stride(1), x_BTHE.stride(2)};
  const std::int64_t out_strides[] = {out_BTHE.stride(0), out_BTHE.stride(1), out_BTHE.stride(2)};
  at::parallel_for(0, x_BTHE.size(0) * num_tokens, row_grain(num_heads * size),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                       const std::int64_t b = i / num_tokens, t = i % num_tokens;
                       run({.x = x + (b * x_strides[0] + t * x_strides[1]) * item,
                            .cosines = cosines + t * size * item,
                            .sines = sines + t * size * item,
                            .out = out + (b * out_strides[0] + t * out_strides[1]) * item,
                            .num_heads = num_heads,
                            .size = size,
                            .x_stride = x_strides[2],
                            .out_stride = out_strides[2],
                            .is_backward = is_backward});
                     }
                   });
}

torch::Tensor turned(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                     const torch::Tensor& sin_T1E) {
  auto out_BHTE = empty_cpu({x_BTHE.size(0), x_BTHE.size(2), x_BTHE.size(1), x_BTHE.size(3)},
                            x_BTHE.scalar_type());
  run_rotary(out_BHTE.transpose(1, 2), x_BTHE, cos_T1E, sin_T1E, /*is_backward=*/false);
  return out_BHTE;
}

class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_BTHE,
                               const torch::Tensor& cos_T1E, const torch::Tensor& sin_T1E) {
    ctx->save_for_backward({cos_T1E, sin_T1E});
    return turned(x_BTHE, cos_T1E, sin_T1E);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("rotary");
    const auto saved = ctx->get_saved_variables();
    auto grad_BTHE = grads[0].transpose(1, 2);
    if (grad_BTHE.stride(-1) != 1) grad_BTHE = grad_BTHE.contiguous();
    auto grad_x = empty_cpu(grad_BTHE.sizes(), grad_BTHE.scalar_type());
    run_rotary(grad_x, grad_BTHE, saved[0], saved[1], /*is_backward=*/true);
    return {grad_x, {}, {}};
  }
};

}  // namespace

torch::Tensor rotary(const torch::Tensor& x_BTHE, const torch::Tensor& cos_T1E,
                     const torch::Tensor& sin_T1E) {
  check_rotary_shapes(x_BTHE, cos_T1E, sin_T1E);
  if (!serves_rotary(x_BTHE, cos_T1E, sin_T1E)) return plain_rotary(x_BTHE, cos_T1E, sin_T1E);
  if (wants_grad(x_BTHE)) return RotaryFunction::apply(x_BTHE, cos_T1E, sin_T1E);
  return turned(x_BTHE, cos_T1E, sin_T1E);
}

void rotary_(const torch::Tensor& out_BHTE, const torch::Tensor& x_BTHE,
             const torch::Tensor& cos_T1E, const torch::Tensor& sin_T1E) {
  check_rotary_shapes(x_BTHE, cos_T1E, sin_T1E);
  TORCH_CHECK(!wants_grad(x_BTHE), "rotary_: has no gradient");
  const auto out_BTHE = out_BHTE.transpose(1, 2);
  TORCH_CHECK(out_BTHE.sizes() == x_BTHE.sizes(), "rotary_: out ", out_BHTE.sizes(),
              " does not fit x ", x_BTHE.sizes());
  if (!serves_rotary(x_BTHE, cos_T1E, sin_T1E) || !has_vector_rows(out_BTHE) ||
      out_BTHE.scalar_type() != x_BTHE.scalar_type()) {
    out_BHTE.copy_(plain_rotary(x_BTHE, cos_T1E, sin_T1E));
    return;
  }
  run_rotary(out_BTHE, x_BTHE, cos_T1E, sin_T1E, /*is_backward=*/false);
}

}  // namespace lowbank
