#include "kernels/linear.h"

#include <optional>
#include <string_view>

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"
#include "kernels/small_linear.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// For smaller products oneDNN is not faster (bench/products_peer.py): the search for its kernel
// costs as much as it saves.
constexpr std::int64_t kMinMacs = std::int64_t{1} << 25;

// oneDNN's inner product, as TorchInductor calls it; nullopt if LibTorch was built without oneDNN.
using Pointwise = torch::Tensor(const torch::Tensor&, const torch::Tensor&,
                                const std::optional<torch::Tensor>&, std::string_view,
                                c10::List<std::optional<c10::Scalar>>,
                                std::optional<std::string_view>);

const std::optional<c10::TypedOperatorHandle<Pointwise>>& onednn_linear() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<Pointwise>> {
    if (!at::hasMKLDNN()) return std::nullopt;
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!found.has_value()) return std::nullopt;
    return found->typed<Pointwise>();
  }();
  return handle;
}

bool is_cpu_float(const torch::Tensor& x) {
  return runs_cpu_kernels(x) && x.scalar_type() == c10::kFloat && x.layout() == c10::kStrided;
}

bool serves_onednn(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                   const torch::Tensor& bias_O) {
  return is_cpu_float(x_I) && is_cpu_float(weight_OI) && x_I.dim() >= 1 && weight_OI.dim() == 2 &&
         x_I.size(-1) == weight_OI.size(1) && x_I.numel() * weight_OI.size(0) >= kMinMacs &&
         (!bias_O.defined() ||
          (is_cpu_float(bias_O) && bias_O.sizes() == weight_OI.sizes().slice(0, 1))) &&
         at::globalContext().userEnabledMkldnn() && onednn_linear().has_value();
}

torch::Tensor run_onednn(const torch::Tensor& x_MI, const torch::Tensor& weight_OI,
                         const std::optional<torch::Tensor>& bias_O) {
  return onednn_linear()->call(x_MI, weight_OI, bias_O, "none",
                               c10::List<std::optional<c10::Scalar>>(), "");
}

class OnednnLinear : public torch::autograd::Function<OnednnLinear> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_MI,
                               const torch::Tensor& weight_OI,
                               const std::optional<torch::Tensor>& bias_O) {
    ctx->save_for_backward({x_MI, weight_OI});
    ctx->saved_data["has_bias"] = bias_O.has_value();
    return run_onednn(x_MI, weight_OI, bias_O);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("linear");
    const auto saved = ctx->get_saved_variables();
    const auto &x_MI = saved[0], &weight_OI = saved[1];
    const auto grad_MO = grads[0].contiguous();
    variable_list out(3);
    if (ctx->needs_input_grad(0)) out[0] = run_onednn(grad_MO, weight_OI.t(), std::nullopt);
    // For this sum over the rows, the library behind at::mm is at least as fast.
    if (ctx->needs_input_grad(1)) out[1] = at::mm(grad_MO.t(), x_MI);
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2)) out[2] = grad_MO.sum(0);
    return out;
  }
};

}  // namespace

torch::Tensor apply_linear(const torch::Tensor& x_I, const torch::Tensor& weight_OI,
                           const torch::Tensor& bias_O) {
  if (serves_small_linear(x_I, weight_OI, bias_O)) return small_linear(x_I, weight_OI, bias_O);
  if (!serves_onednn(x_I, weight_OI, bias_O)) return at::linear(x_I, weight_OI, bias_O);
  RECORD_FUNCTION("lowbank::linear", std::vector<c10::IValue>({x_I, weight_OI}));
  c10::DimVector sizes(x_I.sizes());
  sizes.back() = weight_OI.size(0);
  const auto x_MI = x_I.reshape({-1, x_I.size(-1)});
  const auto bias = bias_O.defined() ? std::optional<torch::Tensor>(bias_O) : std::nullopt;
  const bool is_differentiable =
      wants_grad(x_I) || wants_grad(weight_OI) || (bias.has_value() && wants_grad(*bias));
  const auto y_MO = is_differentiable ? OnednnLinear::apply(x_MI, weight_OI, bias)
                                      : run_onednn(x_MI, weight_OI, bias);
  return y_MO.view(sizes);
}

}  // namespace lowbank
