#include "nn/linear.h"

#include <utility>

#include <c10/util/Exception.h>

#include "kernels/small_linear.h"
#include "nn/dense_linear.h"

namespace lowbank {

LinearSlot::LinearSlot(torch::nn::Module& parent, std::string name, LinearRole role,
                       std::shared_ptr<Linear> linear)
    : parent_(&parent), name_(std::move(name)), role_(role), linear_(std::move(linear)) {
  parent_->register_module(name_, linear_);
}

void LinearSlot::replace(std::shared_ptr<Linear> linear) {
  TORCH_CHECK(linear != nullptr, "LinearSlot::replace: no layer for slot '", name_, "'");
  TORCH_CHECK(linear->in_features() == linear_->in_features() &&
                  linear->out_features() == linear_->out_features(),
              "LinearSlot::replace: slot '", name_, "' maps ", linear_->in_features(), " to ",
              linear_->out_features(), " features, the new layer ", linear->in_features(), " to ",
              linear->out_features());
  linear->train(linear_->is_training());
  parent_->replace_module(name_, linear);
  linear_ = std::move(linear);
}

std::vector<torch::Tensor> forward_group(const torch::Tensor& x_I,
                                         std::initializer_list<const LinearSlot*> slots) {
  std::vector<torch::Tensor> weights_OI, biases_O;
  for (const auto* slot : slots) {
    const auto* const dense = dynamic_cast<const DenseLinear*>(&slot->get());
    if (dense == nullptr || !serves_small_linear(x_I, dense->weight, dense->bias)) {
      break;
    }
    weights_OI.push_back(dense->weight);
    biases_O.push_back(dense->bias);
  }
  if (weights_OI.size() == slots.size()) return small_linear_group(x_I, weights_OI, biases_O);
  std::vector<torch::Tensor> outputs;
  for (const auto* slot : slots) outputs.push_back((*slot)(x_I));
  return outputs;
}

}  // namespace lowbank
