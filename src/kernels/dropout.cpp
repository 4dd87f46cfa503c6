#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/cpu/cpu_tensor.h"

namespace lowbank {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kDropoutGrain = std::int64_t{1} << 15;  // about 15 us of work for each task

torch::Tensor drop_on_cpu(const torch::Tensor& x, const DropoutRule& rule) {
  const auto from = x.contiguous();
  auto out = empty_cpu(from.sizes(), from.scalar_type());
  const auto run = cpu_kernels().dropout[vector_type(from)];
  const std::int64_t item = from.element_size();
  const auto* const values = static_cast<const char*>(from.const_data_ptr());
  auto* const dropped = static_cast<char*>(out.mutable_data_ptr());
  at::parallel_for(0, from.numel(), kDropoutGrain, [&](std::int64_t begin, std::int64_t end) {
    run(dropped + begin * item, values + begin * item, end - begin,
        static_cast<std::uint64_t>(begin), rule);
  });
  return out;
}

torch::Tensor run_dropout(const torch::Tensor& x, const DropoutRule& rule) {
  if (is_vector_tensor(x)) return drop_on_cpu(x, rule);
  // The factors are drawn on the CPU and follow x.
  const auto ones = at::ones(x.sizes(), at::TensorOptions(c10::kFloat));
  return x * drop_on_cpu(ones, rule).to(x.options());
}

class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x,
                               const DropoutRule& rule) {
    ctx->saved_data["key"] = static_cast<std::int64_t>(rule.key);
    ctx->saved_data["stream"] = static_cast<std::int64_t>(rule.stream);
    ctx->saved_data["threshold"] = static_cast<std::int64_t>(rule.threshold);
    ctx->saved_data["scale"] = static_cast<double>(rule.scale);
    return run_dropout(x, rule);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check_first_derivative("dropout");
    const auto saved = [&](const char* name) {
      return static_cast<std::uint64_t>(ctx->saved_data[name].toInt());
    };
    const DropoutRule rule{.key = saved("key"),
                           .stream = saved("stream"),
                           .threshold = static_cast<std::uint32_t>(saved("threshold")),
                           .scale = static_cast<float>(ctx->saved_data["scale"].toDouble())};
    return {run_dropout(grads[0], rule), {}};
  }
};

}  // namespace

torch::Tensor dropout(const torch::Tensor& x, double probability, const RandomKey& key) {
  TORCH_CHECK(probability >= 0.0 && probability < 1.0,
              "dropout: probability must be in [0, 1), got ", probability);
  constexpr double kSteps = 65536.0;
  const double threshold = std::min(std::round(probability * kSteps), kSteps - 1.0);
  if (threshold == 0.0) return x;
  const DropoutRule rule{.key = key.key(),
                         .stream = key.stream(),
                         .threshold = static_cast<std::uint32_t>(threshold),
                         .scale = static_cast<float>(kSteps / (kSteps - threshold))};
  return wants_grad(x) ? DropoutFunction::apply(x, rule) : run_dropout(x, rule);
}

}  // namespace lowbank
