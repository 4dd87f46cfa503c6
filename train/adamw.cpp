#include "train/adamw.h"

#include <set>

#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace lowbank {

NamedTensors trainable_parameters(const torch::nn::Module& model) {
  NamedTensors parameters;
  std::set<const void*> seen;
  for (const auto& item : model.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    if (!seen.insert(item.value().unsafeGetTensorImpl()).second) continue;
    parameters.emplace_back(item.key(), item.value());
  }
  return parameters;
}

AdamW::AdamW(NamedTensors parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const auto& [name, parameter] : parameters_) {
    exp_avgs_.push_back(at::zeros_like(parameter.detach()));
    exp_avg_sqs_.push_back(at::zeros_like(parameter.detach()));
  }
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++num_steps_;
  // One call takes one weight decay, one device and one type.
  for (const bool is_matrix : {true, false}) {
    std::vector<torch::Tensor> values, grads, exp_avgs, exp_avg_sqs, steps;
    const auto flush = [&] {
      if (values.empty()) return;
      at::_fused_adamw_(values, grads, exp_avgs, exp_avg_sqs, /*max_exp_avg_sqs=*/{}, steps,
                        learning_rate, options_.beta1, options_.beta2,
                        is_matrix ? options_.weight_decay : 0.0, options_.eps, /*amsgrad=*/false,
                        /*maximize=*/false);
      for (auto* list : {&values, &grads, &exp_avgs, &exp_avg_sqs, &steps}) list->clear();
    };
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const auto& value = parameters_[i].second;
      if ((value.dim() >= 2) != is_matrix || !value.grad().defined()) continue;
      if (!values.empty() &&
          (values.back().device() != value.device() || values.back().dtype() != value.dtype())) {
        flush();
      }
      values.push_back(value);
      grads.push_back(value.grad());
      exp_avgs.push_back(exp_avgs_[i]);
      exp_avg_sqs.push_back(exp_avg_sqs_[i]);
      steps.push_back(!steps.empty()
                          ? steps.back()
                          : at::full({}, static_cast<double>(num_steps_),
                                     at::TensorOptions(at::kFloat).device(value.device())));
    }
    flush();
  }
}

void AdamW::zero_grad() {
  for (auto& [name, parameter] : parameters_) parameter.mutable_grad() = torch::Tensor();
}

std::map<std::string, torch::Tensor> AdamW::state() const {
  std::map<std::string, torch::Tensor> tensors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    tensors.emplace(parameters_[i].first + ".exp_avg", exp_avgs_[i]);
    tensors.emplace(parameters_[i].first + ".exp_avg_sq", exp_avg_sqs_[i]);
  }
  return tensors;
}

double clip_grad_norm_(const NamedTensors& parameters, double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<torch::Tensor> grads;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) grads.push_back(parameter.grad());
  }
  if (grads.empty()) return 0.0;
  const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads)), 2).item<double>();
  if (const double scale = max_norm / (norm + 1e-6); max_norm > 0 && scale < 1) {
    at::_foreach_mul_(grads, scale);
  }
  return norm;
}

}  // namespace lowbank
