#include "nn/linear.h"

#include <utility>

#include <c10/util/Exception.h>

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

}  // namespace lowbank
