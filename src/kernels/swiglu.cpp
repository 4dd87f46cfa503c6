#include "kernels/swiglu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/silu.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kSwigluCost = 4;  // an exponential and a division for each element

// The inputs are two contiguous tensors, or the halves of one (then `up` is undefined).
SwigluRows swiglu_inputs(const torch::Tensor& gate, const torch::Tensor& up, std::int64_t size) {
  const std::int64_t stride = gate.size(-1);
  const auto* const first = static_cast<const char*>(gate.const_data_ptr());
  return {.gate = first,
          .up = up.defined() ? up.const_data_ptr() : first + size * gate.element_size(),
          .size = size,
          .gate_stride = stride,
          .up_stride = stride,
          .grad_stride = stride};
}

void run_swiglu_rows(const SwigluRows& rows, std::int64_t num_rows, CpuKernels::Swiglu run) {
  at::parallel_for(0, num_rows, row_grain(rows.size, kSwigluCost),
                   [&](std::int64_t begin, std::int64_t end) {
                     SwigluRows part = rows;
                     part.begin = begin;
                     part.end = end;
                     run(part);
                   });
}

torch::Tensor run_swiglu(const torch::Tensor& gate, const torch::Tensor& up) {
  c10::DimVector sizes(gate.sizes());
  if (!up.defined()) sizes.back() /= 2;
  auto out = empty_cpu(sizes, gate.scalar_type());
  SwigluRows rows = swiglu_inputs(gate, up, sizes.back());
  rows.out = out.mutable_data_ptr();
  run_swiglu_rows(rows, out.numel() / rows.size, cpu_kernels().swiglu[vector_type(gate)]);
  return out;
}

// The gradients, in the same form as the inputs.
variable_list run_swiglu_grad(const torch::Tensor& grad, const torch::Tensor& gate,
                              const torch::Tensor& up) {
  const auto out_grad = grad.contiguous();
  SwigluRows rows = swiglu_inputs(gate, up, grad.size(-1));
  const auto grad_gate = empty_cpu(gate.sizes(), gate.scalar_type());
  const auto grad_up = up.defined() ? empty_cpu(up.sizes(), up.scalar_type()) : torch::Tensor();
  auto* const first = static_cast<char*>(grad_gate.mutable_data_ptr());
  rows.grad = out_grad.const_data_ptr();
  rows.grad_gate = first;
  rows.grad_up =
      up.defined() ? grad_up.mutable_data_ptr() : first + rows.size * gate.element_size();
  run_swiglu_rows(rows, grad.numel() / rows.size, cpu_kernels().swiglu_grad[vector_type(gate)]);
  return {grad_gate, grad_up};
}

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& gate,
                               const torch::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return run_swiglu(gate, up);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("swiglu");
    const auto saved = ctx->get_saved_variables();
    return run_swiglu_grad(grads[0], saved[0], saved[1]);
  }
};

// A Function with one input, because autograd does not accept an undefined tensor for `up`.
class SwigluHalvesFunction : public torch::autograd::Function<SwigluHalvesFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& gate_up) {
    ctx->save_for_backward({gate_up});
    return run_swiglu(gate_up, {});
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("swiglu");
    const auto saved = ctx->get_saved_variables();
    return {run_swiglu_grad(grads[0], saved[0], {})[0]};
  }
};

}  // namespace

torch::Tensor swiglu(const torch::Tensor& gate_F, const torch::Tensor& up_F) {
  TORCH_CHECK(gate_F.sizes() == up_F.sizes(), "swiglu: gate ", gate_F.sizes(), " and up ",
              up_F.sizes(), " differ in shape");
  if (!is_vector_tensor(gate_F) || !up_F.is_cpu() || up_F.scalar_type() != gate_F.scalar_type() ||
      gate_F.dim() < 1 || gate_F.numel() == 0) {
    return at::silu(gate_F) * up_F;
  }
  const auto gate = gate_F.contiguous(), up = up_F.contiguous();
  if (wants_grad(gate) || wants_grad(up)) return SwigluFunction::apply(gate, up);
  return run_swiglu(gate, up);
}

torch::Tensor swiglu(const torch::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() >= 1 && gate_up.size(-1) % 2 == 0, "swiglu: the last size of ",
              gate_up.sizes(), " must be even");
  if (!is_vector_tensor(gate_up) || gate_up.numel() == 0) {
    const auto halves = gate_up.chunk(2, -1);
    return at::silu(halves[0]) * halves[1];
  }
  const auto both = gate_up.contiguous();
  if (wants_grad(both)) return SwigluHalvesFunction::apply(both);
  return run_swiglu(both, {});
}

}  // namespace lowbank
