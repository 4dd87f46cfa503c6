#include "kernels/selective_scan.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_isa.h"
#include "kernels/cpu/selective_scan_core.h"
#include "kernels/scan_tensors.h"

namespace lowbank {
namespace {

using torch::Tensor;

void check_input(const SelectiveScanInput& in) {
  TORCH_CHECK(in.u_BTD.defined() && in.u_BTD.dim() == 3 && in.u_BTD.size(0) >= 1 &&
                  in.A_ND.defined() && in.A_ND.dim() == 2 && in.A_ND.numel() >= 1,
              "selective_scan: u must be [B, T, D] and A [N, D], neither empty");
  TORCH_CHECK(in.dt_BTD.defined() && in.B_BTN.defined() && in.C_BTN.defined(),
              "selective_scan: dt, B and C must be given");
  const auto batch = in.u_BTD.size(0);
  const auto tokens = in.u_BTD.size(1);
  const auto channels = in.u_BTD.size(2);
  const auto states = in.A_ND.size(0);
  check_operand("selective_scan", "u", in.u_BTD, {batch, tokens, channels}, in.u_BTD);
  check_operand("selective_scan", "dt", in.dt_BTD, {batch, tokens, channels}, in.u_BTD);
  check_operand("selective_scan", "A", in.A_ND, {states, channels}, in.u_BTD);
  check_operand("selective_scan", "B", in.B_BTN, {batch, tokens, states}, in.u_BTD);
  check_operand("selective_scan", "C", in.C_BTN, {batch, tokens, states}, in.u_BTD);
  if (in.D_D.defined()) check_operand("selective_scan", "D", in.D_D, {channels}, in.u_BTD);
  if (in.z_BTD.defined())
    check_operand("selective_scan", "z", in.z_BTD, {batch, tokens, channels}, in.u_BTD);
  if (in.dt_bias_D.defined())
    check_operand("selective_scan", "dt_bias", in.dt_bias_D, {channels}, in.u_BTD);
  if (in.initial_state_BND.defined()) {
    check_operand("selective_scan", "initial_state", in.initial_state_BND,
                  {batch, states, channels}, in.u_BTD);
  }
}

// Converts all operands to one type and to the memory layout that the core expects.
SelectiveScanInput prepare(const SelectiveScanInput& in, torch::ScalarType type) {
  return {.u_BTD = with_contiguous_rows(to_type(in.u_BTD, type)),
          .dt_BTD = with_contiguous_rows(to_type(in.dt_BTD, type)),
          .A_ND = to_type(in.A_ND, type).contiguous(),
          .B_BTN = with_contiguous_rows(to_type(in.B_BTN, type)),
          .C_BTN = with_contiguous_rows(to_type(in.C_BTN, type)),
          .D_D = contiguous_if_defined(to_type(in.D_D, type)),
          .z_BTD = with_contiguous_rows(to_type(in.z_BTD, type)),
          .dt_bias_D = contiguous_if_defined(to_type(in.dt_bias_D, type)),
          .initial_state_BND = contiguous_if_defined(to_type(in.initial_state_BND, type))};
}

template <class T>
ScanOperands<T> operands_of(const SelectiveScanInput& in, std::int64_t sequence) {
  return {.num_tokens = in.u_BTD.size(1),
          .num_channels = in.u_BTD.size(2),
          .num_states = in.A_ND.size(0),
          .u = rows_of<T>(in.u_BTD, sequence),
          .dt = rows_of<T>(in.dt_BTD, sequence),
          .z = rows_of<T>(in.z_BTD, sequence),
          .b = rows_of<T>(in.B_BTN, sequence),
          .c = rows_of<T>(in.C_BTN, sequence),
          .a_ND = in.A_ND.const_data_ptr<T>(),
          .skip_D = data_of<T>(in.D_D),
          .dt_bias_D = data_of<T>(in.dt_bias_D)};
}

struct FusedForward {
  Tensor y_BTD;
  Tensor chunk_states_BCND;  // for the backward pass; undefined if not asked for
};

// `state` holds the initial state and is overwritten with the final one.
template <class T>
FusedForward forward_on_cpu(const SelectiveScanInput& in, const Tensor& state_BND,
                            bool keep_states) {
  const auto options = in.u_BTD.options();
  FusedForward out = {.y_BTD = at::empty(in.u_BTD.sizes(), options), .chunk_states_BCND = {}};
  if (keep_states) {
    out.chunk_states_BCND = at::empty(
        {in.u_BTD.size(0), num_scan_chunks(in.u_BTD.size(1)), in.A_ND.size(0), in.u_BTD.size(2)},
        options);
  }
  for_groups(
      in.u_BTD, in.u_BTD.size(1) * in.A_ND.size(0), [&](std::int64_t sequence, std::int64_t group) {
        selective_scan_forward({.in = operands_of<T>(in, sequence),
                                .y = mutable_rows_of<T>(out.y_BTD, sequence),
                                .state_ND = part_of<T>(state_BND, sequence),
                                .chunk_states_CND = part_of<T>(out.chunk_states_BCND, sequence)},
                               group);
      });
  return out;
}

// The gradients; each field holds the gradient of the operand of that name.
template <class T>
SelectiveScanInput backward_on_cpu(const SelectiveScanInput& in, const Tensor& chunk_states_BCND,
                                   const Tensor& grad_y_BTD, const Tensor& grad_state_BND) {
  const auto batch = in.u_BTD.size(0);
  const auto tokens = in.u_BTD.size(1);
  const auto channels = in.u_BTD.size(2);
  const auto states = in.A_ND.size(0);
  const auto num_groups = num_scan_groups(channels);
  const auto options = in.u_BTD.options();
  SelectiveScanInput grad;
  grad.u_BTD = at::empty({batch, tokens, channels}, options);
  grad.dt_BTD = at::empty({batch, tokens, channels}, options);
  if (in.z_BTD.defined()) grad.z_BTD = at::empty({batch, tokens, channels}, options);
  grad.initial_state_BND = grad_state_BND;
  const auto a_BND = at::zeros({batch, states, channels}, options);
  const auto b_BGTN = at::empty({batch, num_groups, tokens, states}, options);
  const auto c_BGTN = at::empty({batch, num_groups, tokens, states}, options);
  const auto skip_BD = in.D_D.defined() ? at::zeros({batch, channels}, options) : Tensor();
  const auto bias_BD = in.dt_bias_D.defined() ? at::zeros({batch, channels}, options) : Tensor();
  for_groups(in.u_BTD, in.u_BTD.size(1) * in.A_ND.size(0),
             [&](std::int64_t sequence, std::int64_t group) {
               selective_scan_backward({.in = operands_of<T>(in, sequence),
                                        .chunk_states_CND = part_of<T>(chunk_states_BCND, sequence),
                                        .grad_y = rows_of<T>(grad_y_BTD, sequence),
                                        .grad_u = mutable_rows_of<T>(grad.u_BTD, sequence),
                                        .grad_dt = mutable_rows_of<T>(grad.dt_BTD, sequence),
                                        .grad_z = mutable_rows_of<T>(grad.z_BTD, sequence),
                                        .grad_b_GTN = part_of<T>(b_BGTN, sequence),
                                        .grad_c_GTN = part_of<T>(c_BGTN, sequence),
                                        .grad_a_ND = part_of<T>(a_BND, sequence),
                                        .grad_skip_D = part_of<T>(skip_BD, sequence),
                                        .grad_dt_bias_D = part_of<T>(bias_BD, sequence),
                                        .grad_state_ND = part_of<T>(grad_state_BND, sequence)},
                                       group);
             });
  grad.A_ND = sum_in_order(a_BND, 0);
  grad.B_BTN = sum_in_order(b_BGTN, 1);
  grad.C_BTN = sum_in_order(c_BGTN, 1);
  if (skip_BD.defined()) grad.D_D = sum_in_order(skip_BD, 0);
  if (bias_BD.defined()) grad.dt_bias_D = sum_in_order(bias_BD, 0);
  return grad;
}

// Whether a fused kernel serves the device of u. The operands may have any type at this point.
bool is_fused(const SelectiveScanInput& in) {
  if (in.u_BTD.is_cpu()) return uses_cpu_kernels();
  return in.u_BTD.is_cuda() && scan_type(in.u_BTD) == torch::kFloat &&
         in.A_ND.size(0) <= kLowbankCudaScanMaxStates && cuda_library() != nullptr;
}

void check_cuda(int error) {
  TORCH_CHECK(error == 0, "selective_scan: ", cuda_library()->error_text(error));
}

LowbankCudaScan cuda_operands_of(const SelectiveScanInput& in) {
  return {.batch = in.u_BTD.size(0),
          .tokens = in.u_BTD.size(1),
          .channels = in.u_BTD.size(2),
          .states = in.A_ND.size(0),
          .u = cuda_rows_of(in.u_BTD),
          .dt = cuda_rows_of(in.dt_BTD),
          .z = cuda_rows_of(in.z_BTD),
          .b = cuda_rows_of(in.B_BTN),
          .c = cuda_rows_of(in.C_BTN),
          .a_ND = data_of<float>(in.A_ND),
          .skip_D = data_of<float>(in.D_D),
          .dt_bias_D = data_of<float>(in.dt_bias_D)};
}

float* mutable_data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

FusedForward forward_on_cuda(const SelectiveScanInput& in, const Tensor& state_BND,
                             bool keep_states) {
  const c10::DeviceGuard device(in.u_BTD.device());
  const auto options = in.u_BTD.options();
  FusedForward out = {.y_BTD = at::empty(in.u_BTD.sizes(), options), .chunk_states_BCND = {}};
  if (keep_states) {
    const auto num_tiles = (in.u_BTD.size(1) + kLowbankCudaScanTile - 1) / kLowbankCudaScanTile;
    out.chunk_states_BCND =
        at::empty({in.u_BTD.size(0), num_tiles, in.A_ND.size(0), in.u_BTD.size(2)}, options);
  }
  const auto scan = cuda_operands_of(in);
  check_cuda(cuda_library()->scan_forward(&scan, mutable_data_of(out.y_BTD),
                                          mutable_data_of(state_BND),
                                          mutable_data_of(out.chunk_states_BCND)));
  return out;
}

SelectiveScanInput backward_on_cuda(const SelectiveScanInput& in, const Tensor& tile_states_BCND,
                                    const Tensor& grad_y_BTD, const Tensor& grad_state_BND) {
  const c10::DeviceGuard device(in.u_BTD.device());
  const auto batch = in.u_BTD.size(0);
  const auto tokens = in.u_BTD.size(1);
  const auto channels = in.u_BTD.size(2);
  const auto states = in.A_ND.size(0);
  const auto num_groups = (channels + kLowbankCudaScanChannels - 1) / kLowbankCudaScanChannels;
  const auto options = in.u_BTD.options();
  SelectiveScanInput grad;
  grad.u_BTD = at::empty({batch, tokens, channels}, options);
  grad.dt_BTD = at::empty({batch, tokens, channels}, options);
  if (in.z_BTD.defined()) grad.z_BTD = at::empty({batch, tokens, channels}, options);
  grad.initial_state_BND = grad_state_BND;
  const auto a_BND = at::empty({batch, states, channels}, options);
  const auto b_BGTN = at::empty({batch, num_groups, tokens, states}, options);
  const auto c_BGTN = at::empty({batch, num_groups, tokens, states}, options);
  const auto skip_BD = in.D_D.defined() ? at::empty({batch, channels}, options) : Tensor();
  const auto bias_BD = in.dt_bias_D.defined() ? at::empty({batch, channels}, options) : Tensor();
  const auto scan = cuda_operands_of(in);
  const auto grad_y = cuda_rows_of(grad_y_BTD);
  const LowbankCudaScanGrads grads = {.u_BTD = mutable_data_of(grad.u_BTD),
                                      .dt_BTD = mutable_data_of(grad.dt_BTD),
                                      .z_BTD = mutable_data_of(grad.z_BTD),
                                      .b_BGTN = mutable_data_of(b_BGTN),
                                      .c_BGTN = mutable_data_of(c_BGTN),
                                      .a_BND = mutable_data_of(a_BND),
                                      .skip_BD = mutable_data_of(skip_BD),
                                      .dt_bias_BD = mutable_data_of(bias_BD),
                                      .state_BND = mutable_data_of(grad_state_BND)};
  check_cuda(
      cuda_library()->scan_backward(&scan, mutable_data_of(tile_states_BCND), &grad_y, &grads));
  grad.A_ND = a_BND.sum(0);
  grad.B_BTN = b_BGTN.sum(1);
  grad.C_BTN = c_BGTN.sum(1);
  if (skip_BD.defined()) grad.D_D = skip_BD.sum(0);
  if (bias_BD.defined()) grad.dt_bias_D = bias_BD.sum(0);
  return grad;
}

FusedForward fused_forward(const SelectiveScanInput& in, const Tensor& state_BND,
                           bool keep_states) {
  if (in.u_BTD.is_cuda()) return forward_on_cuda(in, state_BND, keep_states);
  if (in.u_BTD.scalar_type() == torch::kDouble) {
    return forward_on_cpu<double>(in, state_BND, keep_states);
  }
  return forward_on_cpu<float>(in, state_BND, keep_states);
}

SelectiveScanInput fused_backward(const SelectiveScanInput& in, const Tensor& chunk_states_BCND,
                                  const Tensor& grad_y_BTD, const Tensor& grad_state_BND) {
  if (in.u_BTD.is_cuda()) {
    return backward_on_cuda(in, chunk_states_BCND, grad_y_BTD, grad_state_BND);
  }
  if (in.u_BTD.scalar_type() == torch::kDouble) {
    return backward_on_cpu<double>(in, chunk_states_BCND, grad_y_BTD, grad_state_BND);
  }
  return backward_on_cpu<float>(in, chunk_states_BCND, grad_y_BTD, grad_state_BND);
}

// A tensor of its own, to be overwritten with the final state.
Tensor initial_state_copy(const SelectiveScanInput& in) {
  if (in.initial_state_BND.defined()) {
    return in.initial_state_BND.clone(at::MemoryFormat::Contiguous);
  }
  return at::zeros({in.u_BTD.size(0), in.A_ND.size(0), in.u_BTD.size(2)}, in.u_BTD.options());
}

SelectiveScanInput from_list(const torch::autograd::variable_list& list) {
  return {.u_BTD = list[0],
          .dt_BTD = list[1],
          .A_ND = list[2],
          .B_BTN = list[3],
          .C_BTN = list[4],
          .D_D = list[5],
          .z_BTD = list[6],
          .dt_bias_D = list[7],
          .initial_state_BND = list[8]};
}

// Saves its inputs and the states every kScanChunkTokens tokens.
class SelectiveScanFunction : public torch::autograd::Function<SelectiveScanFunction> {
 public:
  // A Function cannot take an undefined tensor, so operands that may be undefined are optional.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const Tensor& u, const Tensor& dt, const Tensor& a,
                                                const Tensor& b, const Tensor& c,
                                                const std::optional<Tensor>& skip,
                                                const std::optional<Tensor>& z,
                                                const std::optional<Tensor>& dt_bias,
                                                const std::optional<Tensor>& state) {
    context->set_materialize_grads(false);
    torch::autograd::variable_list saved = {u, dt, a, b, c};
    for (const auto* const tensor : {&skip, &z, &dt_bias, &state}) {
      saved.push_back(tensor->value_or(Tensor()));
    }
    const auto in = from_list(saved);
    const auto final_state_BND = initial_state_copy(in);
    const auto out = fused_forward(in, final_state_BND, /*keep_states=*/true);
    saved.push_back(out.chunk_states_BCND);
    context->save_for_backward(std::move(saved));
    return {out.y_BTD, final_state_BND};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "selective_scan: has no second derivative; use selective_scan_reference");
    const auto saved = context->get_saved_variables();
    const auto in = from_list(saved);
    const auto grad_y =
        grads[0].defined() ? with_contiguous_rows(grads[0]) : at::zeros_like(in.u_BTD);
    const auto grad_state =
        grads[1].defined()
            ? grads[1].clone(at::MemoryFormat::Contiguous)
            : at::zeros({in.u_BTD.size(0), in.A_ND.size(0), in.u_BTD.size(2)}, in.u_BTD.options());
    const auto grad = fused_backward(in, saved[9], grad_y, grad_state);
    return {grad.u_BTD,
            grad.dt_BTD,
            grad.A_ND,
            grad.B_BTN,
            grad.C_BTN,
            grad.D_D,
            grad.z_BTD,
            grad.dt_bias_D,
            in.initial_state_BND.defined() ? grad.initial_state_BND : Tensor()};
  }
};

bool wants_grad(const SelectiveScanInput& in) {
  if (!at::GradMode::is_enabled()) return false;
  for (const Tensor* const tensor : {&in.u_BTD, &in.dt_BTD, &in.A_ND, &in.B_BTN, &in.C_BTN, &in.D_D,
                                     &in.z_BTD, &in.dt_bias_D, &in.initial_state_BND}) {
    if (tensor->defined() && tensor->requires_grad()) return true;
  }
  return false;
}

Tensor softplus_of_step(const SelectiveScanInput& in, torch::ScalarType type) {
  auto dt_BTD = in.dt_BTD.to(type);
  if (in.dt_bias_D.defined()) dt_BTD = dt_BTD + in.dt_bias_D.to(type);
  return at::softplus(dt_BTD);
}

// Adds the skip connection to y = C h and applies the gate.
Tensor skip_and_gate(Tensor y_BTD, const SelectiveScanInput& in, torch::ScalarType type) {
  if (in.D_D.defined()) y_BTD = y_BTD + in.D_D.to(type) * in.u_BTD.to(type);
  if (in.z_BTD.defined()) y_BTD = y_BTD * at::silu(in.z_BTD.to(type));
  return y_BTD.to(in.u_BTD.scalar_type());
}

}  // namespace

SelectiveScanOutput selective_scan(const SelectiveScanInput& input) {
  RECORD_FUNCTION("lowbank::selective_scan", std::vector<c10::IValue>({input.u_BTD, input.A_ND}));
  check_input(input);
  const auto& u_BTD = input.u_BTD;
  if (!is_fused(input)) return selective_scan_chunked(input);
  const auto in = prepare(input, scan_type(u_BTD));
  if (wants_grad(in)) {
    const auto out = SelectiveScanFunction::apply(
        in.u_BTD, in.dt_BTD, in.A_ND, in.B_BTN, in.C_BTN, if_defined(in.D_D), if_defined(in.z_BTD),
        if_defined(in.dt_bias_D), if_defined(in.initial_state_BND));
    return {.y_BTD = out[0].to(u_BTD.scalar_type()), .final_state_BND = out[1]};
  }
  const auto state_BND = initial_state_copy(in);
  const auto out = fused_forward(in, state_BND, /*keep_states=*/false);
  return {.y_BTD = out.y_BTD.to(u_BTD.scalar_type()), .final_state_BND = state_BND};
}

SelectiveScanOutput selective_scan_reference(const SelectiveScanInput& input) {
  check_input(input);
  const auto type = scan_type(input.u_BTD);
  const auto dt_BTD = softplus_of_step(input, type);
  const auto a_ND = input.A_ND.to(type);
  auto state_BND = input.initial_state_BND.defined() ? input.initial_state_BND.to(type)
                                                     : initial_state_copy(input).to(type);
  const auto input_BTD = dt_BTD * input.u_BTD.to(type);
  std::vector<Tensor> y_BD;
  for (std::int64_t t = 0; t < input.u_BTD.size(1); ++t) {
    const auto decay_BND = at::exp(dt_BTD.select(1, t).unsqueeze(1) * a_ND);
    state_BND = decay_BND * state_BND + input.B_BTN.select(1, t).to(type).unsqueeze(2) *
                                            input_BTD.select(1, t).unsqueeze(1);
    y_BD.push_back((state_BND * input.C_BTN.select(1, t).to(type).unsqueeze(2)).sum(1));
  }
  const auto y_BTD = y_BD.empty() ? at::zeros_like(input_BTD) : at::stack(y_BD, 1);
  return {.y_BTD = skip_and_gate(y_BTD, input, type), .final_state_BND = state_BND};
}

SelectiveScanOutput selective_scan_chunked(const SelectiveScanInput& input, std::int64_t chunk) {
  check_input(input);
  TORCH_CHECK(chunk >= 1, "selective_scan_chunked: chunk must be >= 1, got ", chunk);
  const auto type = scan_type(input.u_BTD);
  const auto num_tokens = input.u_BTD.size(1);
  const auto dt_BTD = softplus_of_step(input, type);
  const auto a_ND = input.A_ND.to(type);
  const auto input_BTD = dt_BTD * input.u_BTD.to(type);
  const auto b_BTN = input.B_BTN.to(type);
  const auto c_BTN = input.C_BTN.to(type);
  auto state_BND = input.initial_state_BND.defined() ? input.initial_state_BND.to(type)
                                                     : initial_state_copy(input).to(type);
  std::vector<Tensor> y_BTD;
  for (std::int64_t begin = 0; begin < num_tokens; begin += chunk) {
    const std::int64_t length = std::min(chunk, num_tokens - begin);
    const auto of_chunk = [&](const Tensor& tensor) { return tensor.narrow(1, begin, length); };
    // decay[t] and state[t] cover the last `span` tokens up to t; each round doubles `span`.
    auto decay_BTND = at::exp(of_chunk(dt_BTD).unsqueeze(2) * a_ND);
    auto states_BTND = of_chunk(b_BTN).unsqueeze(3) * of_chunk(input_BTD).unsqueeze(2);
    for (std::int64_t span = 1; span < length; span *= 2) {
      const auto later = [&](const Tensor& x) { return x.narrow(1, span, length - span); };
      const auto earlier = [&](const Tensor& x) { return x.narrow(1, 0, length - span); };
      const auto first = [&](const Tensor& x) { return x.narrow(1, 0, span); };
      states_BTND = at::cat(
          {first(states_BTND), later(states_BTND) + later(decay_BTND) * earlier(states_BTND)}, 1);
      decay_BTND = at::cat({first(decay_BTND), later(decay_BTND) * earlier(decay_BTND)}, 1);
    }
    states_BTND = states_BTND + decay_BTND * state_BND.unsqueeze(1);
    state_BND = states_BTND.select(1, length - 1);
    y_BTD.push_back((states_BTND * of_chunk(c_BTN).unsqueeze(3)).sum(2));
  }
  const auto y = y_BTD.empty() ? at::zeros_like(input_BTD) : at::cat(y_BTD, 1);
  return {.y_BTD = skip_and_gate(y, input, type), .final_state_BND = state_BND.contiguous()};
}

torch::Tensor selective_scan_step(const torch::Tensor& state_BND,
                                  const SelectiveScanStepInput& input) {
  RECORD_FUNCTION("lowbank::selective_scan", std::vector<c10::IValue>({input.u_BD, input.A_ND}));
  const auto one_token = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.unsqueeze(1) : tensor;
  };
  const at::NoGradGuard no_grad;
  const SelectiveScanInput sequence = {.u_BTD = one_token(input.u_BD),
                                       .dt_BTD = one_token(input.dt_BD),
                                       .A_ND = input.A_ND,
                                       .B_BTN = one_token(input.B_BN),
                                       .C_BTN = one_token(input.C_BN),
                                       .D_D = input.D_D,
                                       .z_BTD = one_token(input.z_BD),
                                       .dt_bias_D = input.dt_bias_D,
                                       .initial_state_BND = state_BND};
  check_input(sequence);
  const auto type = scan_type(input.u_BD);
  TORCH_CHECK(state_BND.is_contiguous() && state_BND.scalar_type() == type,
              "selective_scan_step: the state must be contiguous and ", type, ", got ",
              state_BND.toString(), " with strides ", state_BND.strides());
  if (!is_fused(sequence)) {
    const auto out = selective_scan_reference(sequence);
    state_BND.copy_(out.final_state_BND);
    return out.y_BTD.squeeze(1);
  }
  const auto out = fused_forward(prepare(sequence, type), state_BND, /*keep_states=*/false);
  return out.y_BTD.squeeze(1).to(input.u_BD.scalar_type());
}

}  // namespace lowbank
