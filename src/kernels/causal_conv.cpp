#include "kernels/causal_conv.h"

#include <optional>

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/causal_conv_core.h"
#include "kernels/cpu/cpu_isa.h"
#include "kernels/scan_tensors.h"

namespace lowbank {
namespace {

using torch::Tensor;

void check_conv_input(const CausalConvInput& in) {
  TORCH_CHECK(in.x_BTD.defined() && in.x_BTD.dim() == 3 && in.weight_DW.defined() &&
                  in.weight_DW.dim() == 2 && in.x_BTD.size(0) >= 1 && in.weight_DW.numel() >= 1,
              "causal_conv: x must be [B, T, D] and the weight [D, W], neither empty");
  const auto batch = in.x_BTD.size(0);
  const auto channels = in.x_BTD.size(2);
  const auto width = in.weight_DW.size(1);
  check_operand("causal_conv", "x", in.x_BTD, in.x_BTD.sizes(), in.x_BTD);
  check_operand("causal_conv", "weight", in.weight_DW, {channels, width}, in.x_BTD);
  if (in.bias_D.defined()) check_operand("causal_conv", "bias", in.bias_D, {channels}, in.x_BTD);
  if (in.initial_state_BWD.defined()) {
    check_operand("causal_conv", "initial_state", in.initial_state_BWD,
                  {batch, width - 1, channels}, in.x_BTD);
  }
}

Tensor state_before(const CausalConvInput& in) {
  if (in.initial_state_BWD.defined()) return in.initial_state_BWD.to(in.x_BTD.scalar_type());
  return at::zeros({in.x_BTD.size(0), in.weight_DW.size(1) - 1, in.x_BTD.size(2)},
                   in.x_BTD.options());
}

// The new state, which never shares memory with x, however short the sequence is.
Tensor state_after(const Tensor& before_BWD, const Tensor& x_BTD) {
  const auto kept = before_BWD.size(1);
  const auto tokens = x_BTD.size(1);
  if (tokens >= kept) return x_BTD.narrow(1, tokens - kept, kept).clone();
  return at::cat({before_BWD.narrow(1, tokens, kept - tokens), x_BTD}, 1);
}

struct ConvTensors {
  Tensor x_BTD;
  Tensor before_BWD;  // [B, W - 1, D]
  Tensor weight_WD;
  Tensor bias_D;  // may be undefined
  bool silu = true;
};

template <class T>
ConvOperands<T> operands_of(const ConvTensors& in, std::int64_t sequence) {
  return {.num_tokens = in.x_BTD.size(1),
          .num_channels = in.x_BTD.size(2),
          .width = in.weight_WD.size(0),
          .x = rows_of<T>(in.x_BTD, sequence),
          .before = rows_of<T>(in.before_BWD, sequence),
          .weight_WD = in.weight_WD.const_data_ptr<T>(),
          .bias_D = data_of<T>(in.bias_D),
          .silu = in.silu};
}

template <class T>
Tensor conv_forward_on_cpu(const ConvTensors& in) {
  auto y_BTD = at::empty(in.x_BTD.sizes(), in.x_BTD.options());
  for_groups(in.x_BTD, in.x_BTD.size(1) * in.weight_WD.size(0),
             [&](std::int64_t sequence, std::int64_t group) {
               causal_conv_forward(
                   {.in = operands_of<T>(in, sequence), .y = mutable_rows_of<T>(y_BTD, sequence)},
                   group);
             });
  return y_BTD;
}

// The gradients; each field holds the gradient of the operand of that name.
template <class T>
ConvTensors conv_backward_on_cpu(const ConvTensors& in, const Tensor& grad_y_BTD) {
  const auto batch = in.x_BTD.size(0);
  const auto channels = in.x_BTD.size(2);
  const auto width = in.weight_WD.size(0);
  const auto options = in.x_BTD.options();
  ConvTensors grad;
  grad.x_BTD = at::empty(in.x_BTD.sizes(), options);
  grad.before_BWD = at::empty({batch, width - 1, channels}, options);
  const auto weight_BWD = at::zeros({batch, width, channels}, options);
  const auto bias_BD = in.bias_D.defined() ? at::zeros({batch, channels}, options) : Tensor();
  for_groups(in.x_BTD, in.x_BTD.size(1) * in.weight_WD.size(0),
             [&](std::int64_t sequence, std::int64_t group) {
               causal_conv_backward({.in = operands_of<T>(in, sequence),
                                     .grad_y = rows_of<T>(grad_y_BTD, sequence),
                                     .grad_x = mutable_rows_of<T>(grad.x_BTD, sequence),
                                     .grad_before = mutable_rows_of<T>(grad.before_BWD, sequence),
                                     .grad_weight_WD = part_of<T>(weight_BWD, sequence),
                                     .grad_bias_D = part_of<T>(bias_BD, sequence)},
                                    group);
             });
  grad.weight_WD = sum_in_order(weight_BWD, 0);
  if (bias_BD.defined()) grad.bias_D = sum_in_order(bias_BD, 0);
  return grad;
}

// Whether our own kernels serve the device of x. The operands may have any type at this point.
bool is_conv_fused(const CausalConvInput& in) {
  if (in.x_BTD.is_cpu()) return uses_cpu_kernels();
  return in.x_BTD.is_cuda() && scan_type(in.x_BTD) == torch::kFloat &&
         in.weight_DW.size(1) <= kLowbankCudaConvMaxWidth && cuda_library() != nullptr;
}

void check_conv_cuda(int error) {
  TORCH_CHECK(error == 0, "causal_conv: ", cuda_library()->error_text(error));
}

LowbankCudaConv cuda_operands_of(const ConvTensors& in) {
  return {.batch = in.x_BTD.size(0),
          .tokens = in.x_BTD.size(1),
          .channels = in.x_BTD.size(2),
          .width = in.weight_WD.size(0),
          .x = cuda_rows_of(in.x_BTD),
          .before = cuda_rows_of(in.before_BWD),
          .weight_WD = in.weight_WD.const_data_ptr<float>(),
          .bias_D = data_of<float>(in.bias_D),
          .silu = in.silu ? 1 : 0};
}

Tensor conv_forward_on_cuda(const ConvTensors& in) {
  const c10::DeviceGuard device(in.x_BTD.device());
  auto y_BTD = at::empty(in.x_BTD.sizes(), in.x_BTD.options());
  const auto conv = cuda_operands_of(in);
  check_conv_cuda(cuda_library()->conv_forward(&conv, y_BTD.mutable_data_ptr<float>()));
  return y_BTD;
}

ConvTensors conv_backward_on_cuda(const ConvTensors& in, const Tensor& grad_y_BTD) {
  const c10::DeviceGuard device(in.x_BTD.device());
  const auto batch = in.x_BTD.size(0);
  const auto tokens = in.x_BTD.size(1);
  const auto channels = in.x_BTD.size(2);
  const auto width = in.weight_WD.size(0);
  const auto num_tiles = (tokens + kLowbankCudaConvTile - 1) / kLowbankCudaConvTile;
  const auto options = in.x_BTD.options();
  ConvTensors grad;
  grad.x_BTD = at::empty(in.x_BTD.sizes(), options);
  grad.before_BWD = at::empty({batch, width - 1, channels}, options);
  const auto sum_BTD = at::empty(in.x_BTD.sizes(), options);
  const auto weight_BCWD = at::empty({batch, num_tiles, width, channels}, options);
  const auto bias_BCD =
      in.bias_D.defined() ? at::empty({batch, num_tiles, channels}, options) : Tensor();
  const auto conv = cuda_operands_of(in);
  const auto grad_y = cuda_rows_of(grad_y_BTD);
  check_conv_cuda(cuda_library()->conv_backward(
      &conv, &grad_y, sum_BTD.mutable_data_ptr<float>(), grad.x_BTD.mutable_data_ptr<float>(),
      grad.before_BWD.mutable_data_ptr<float>(), weight_BCWD.mutable_data_ptr<float>(),
      bias_BCD.defined() ? bias_BCD.mutable_data_ptr<float>() : nullptr));
  constexpr std::int64_t kParts[] = {0, 1};
  grad.weight_WD = weight_BCWD.sum(kParts);
  if (bias_BCD.defined()) grad.bias_D = bias_BCD.sum(kParts);
  return grad;
}

Tensor conv_forward(const ConvTensors& in) {
  if (in.x_BTD.is_cuda()) return conv_forward_on_cuda(in);
  return in.x_BTD.scalar_type() == torch::kDouble ? conv_forward_on_cpu<double>(in)
                                                  : conv_forward_on_cpu<float>(in);
}

ConvTensors conv_backward(const ConvTensors& in, const Tensor& grad_y_BTD) {
  if (in.x_BTD.is_cuda()) return conv_backward_on_cuda(in, grad_y_BTD);
  return in.x_BTD.scalar_type() == torch::kDouble ? conv_backward_on_cpu<double>(in, grad_y_BTD)
                                                  : conv_backward_on_cpu<float>(in, grad_y_BTD);
}

class CausalConvFunction : public torch::autograd::Function<CausalConvFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x_BTD,
                        const Tensor& before_BWD, const Tensor& weight_WD,
                        const std::optional<Tensor>& bias, bool silu) {
    const auto bias_D = bias.value_or(Tensor());
    context->save_for_backward({x_BTD, before_BWD, weight_WD, bias_D});
    context->saved_data["silu"] = silu;
    return conv_forward({x_BTD, before_BWD, weight_WD, bias_D, silu});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "causal_conv: has no second derivative; use causal_conv_reference");
    const auto saved = context->get_saved_variables();
    const auto grad = conv_backward(
        {saved[0], saved[1], saved[2], saved[3], context->saved_data["silu"].toBool()},
        with_contiguous_rows(grads[0]));
    return {grad.x_BTD, grad.before_BWD, grad.weight_WD, grad.bias_D, Tensor()};
  }
};

ConvTensors prepare(const CausalConvInput& in) {
  const auto type = scan_type(in.x_BTD);
  return {.x_BTD = with_contiguous_rows(in.x_BTD.to(type)),
          .before_BWD = with_contiguous_rows(state_before(in).to(type)),
          .weight_WD = in.weight_DW.to(type).t().contiguous(),
          .bias_D = contiguous_if_defined(to_type(in.bias_D, type)),
          .silu = in.silu};
}

}  // namespace

CausalConvOutput causal_conv(const CausalConvInput& input) {
  RECORD_FUNCTION("lowbank::causal_conv", std::vector<c10::IValue>({input.x_BTD, input.weight_DW}));
  check_conv_input(input);
  if (!is_conv_fused(input)) return causal_conv_reference(input);
  const auto in = prepare(input);
  // If no gradient is wanted, apply() records and keeps nothing.
  const auto y_BTD = CausalConvFunction::apply(in.x_BTD, in.before_BWD, in.weight_WD,
                                               if_defined(in.bias_D), in.silu);
  return {.y_BTD = y_BTD.to(input.x_BTD.scalar_type()),
          .final_state_BWD = state_after(state_before(input), input.x_BTD)};
}

CausalConvOutput causal_conv_reference(const CausalConvInput& input) {
  check_conv_input(input);
  const auto type = scan_type(input.x_BTD);
  const auto before_BWD = state_before(input);
  const auto all_BDT = at::cat({before_BWD, input.x_BTD}, 1).to(type).transpose(1, 2);
  constexpr std::int64_t kOne[] = {1};
  constexpr std::int64_t kNone[] = {0};
  auto y_BTD = at::conv1d(all_BDT, input.weight_DW.to(type).unsqueeze(1),
                          to_type(input.bias_D, type), /*stride=*/kOne, /*padding=*/kNone,
                          /*dilation=*/kOne, /*groups=*/input.x_BTD.size(2))
                   .transpose(1, 2);
  if (input.silu) y_BTD = at::silu(y_BTD);
  return {.y_BTD = y_BTD.to(input.x_BTD.scalar_type()).contiguous(),
          .final_state_BWD = state_after(before_BWD, input.x_BTD)};
}

torch::Tensor causal_conv_step(const torch::Tensor& state_BWD, const torch::Tensor& x_BD,
                               const torch::Tensor& weight_DW, const torch::Tensor& bias_D,
                               bool silu) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(state_BWD.is_contiguous() && state_BWD.scalar_type() == x_BD.scalar_type(),
              "causal_conv_step: the state must be contiguous and of x's type, got ",
              state_BWD.toString(), " with strides ", state_BWD.strides());
  const auto out = causal_conv({.x_BTD = x_BD.unsqueeze(1),
                                .weight_DW = weight_DW,
                                .bias_D = bias_D,
                                .initial_state_BWD = state_BWD,
                                .silu = silu});
  state_BWD.copy_(out.final_state_BWD);
  return out.y_BTD.squeeze(1);
}

}  // namespace lowbank
