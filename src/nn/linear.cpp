#include "nn/linear.h"

#include <algorithm>
#include <utility>

#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include "kernels/small_linear.h"

namespace lowbank {
namespace {

constexpr const char* kBaseLayer = "base_layer";

}  // namespace

void Linear::set_base(std::shared_ptr<Linear> base) {
  TORCH_CHECK(base != nullptr, "Linear::set_base: no layer to wrap");
  if (base_ == nullptr) {
    register_module(kBaseLayer, base);
  } else {
    replace_module(kBaseLayer, base);
  }
  base_ = std::move(base);
}

void Linear::select(Side side, const torch::Tensor& index) {
  const c10::NoGradGuard no_grad;
  auto parameters = named_parameters(/*recurse=*/false);
  for (const auto& [name, dim] : along(side)) {
    // The layer's members refer to the same tensor objects, so they change with them.
    auto& parameter = parameters[name];
    parameter.mutable_grad() = torch::Tensor();
    parameter.set_data(parameter.detach().index_select(dim, index));
  }
  if (base_ != nullptr) base_->select(side, index);
}

std::int64_t count_elements(const Linear& linear) {
  std::int64_t count = 0;
  for (const auto& parameter : linear.parameters()) count += parameter.numel();
  return count;
}

LinearSlot::LinearSlot(torch::nn::Module& parent, std::string path, LinearRole role,
                       std::shared_ptr<Linear> linear)
    : place_(std::make_shared<Place>()) {
  place_->parent = &parent;
  place_->name = path.substr(path.rfind('.') + 1);
  place_->path = std::move(path);
  place_->role = role;
  place_->linear = std::move(linear);
  parent.register_module(place_->name, place_->linear);
}

torch::Tensor LinearSlot::operator()(const torch::Tensor& x_I, const Pass& pass) const {
  if (place_->observer != nullptr) place_->observer->on_input(place_->path, x_I);
  if (!pass.key.has_value()) return place_->linear->forward(x_I, pass);
  return place_->linear->forward(
      x_I,
      {.mask_BS = pass.mask_BS, .num_past = pass.num_past, .key = pass.key->derive(place_->path)});
}

std::vector<Linear*> LinearSlot::layers() const {
  std::vector<Linear*> layers;
  for (Linear* layer = place_->linear.get(); layer != nullptr; layer = layer->base().get()) {
    layers.push_back(layer);
  }
  return layers;
}

SlotRecord LinearSlot::record() const {
  SlotRecord record{.path = place_->path, .layers = {}};
  for (const Linear* layer : layers()) record.layers.push_back(layer->record());
  std::reverse(record.layers.begin(), record.layers.end());
  return record;
}

void LinearSlot::check_features(const Linear& linear) const {
  const Linear& now = *place_->linear;
  TORCH_CHECK(
      linear.in_features() == now.in_features() && linear.out_features() == now.out_features(),
      "LinearSlot: slot '", place_->path, "' maps ", now.in_features(), " to ", now.out_features(),
      " features, the new layer ", linear.in_features(), " to ", linear.out_features());
}

void LinearSlot::put(std::shared_ptr<Linear> linear) {
  linear->train(place_->linear->is_training());
  place_->parent->replace_module(place_->name, linear);
  place_->linear = std::move(linear);
}

void LinearSlot::replace(std::shared_ptr<Linear> linear) {
  TORCH_CHECK(linear != nullptr, "LinearSlot: no layer for slot '", place_->path, "'");
  check_features(*linear);
  put(std::move(linear));
}

void LinearSlot::replace(const Linear& layer, std::shared_ptr<Linear> by) {
  if (&layer == place_->linear.get()) return replace(std::move(by));
  TORCH_CHECK(by != nullptr, "LinearSlot: no layer for slot '", place_->path, "'");
  check_features(*by);
  for (Linear* wrapper : layers()) {
    if (wrapper->base().get() != &layer) continue;
    by->train(wrapper->is_training());
    wrapper->set_base(std::move(by));
    return;
  }
  TORCH_CHECK(false, "LinearSlot: the layer to be replaced is not in slot '", place_->path, "'");
}

void LinearSlot::wrap(
    const std::function<std::shared_ptr<Linear>(std::shared_ptr<Linear> base)>& make) {
  auto wrapper = make(place_->linear);
  TORCH_CHECK(wrapper != nullptr && wrapper->base() == place_->linear,
              "LinearSlot::wrap: the new layer does not wrap what is in slot '", place_->path, "'");
  check_features(*wrapper);
  put(std::move(wrapper));
}

std::shared_ptr<Linear> LinearSlot::unwrap(std::string_view kind) {
  Linear* above = nullptr;
  for (auto layer = place_->linear; layer != nullptr; layer = layer->base()) {
    if (layer->kind() == kind && layer->base() != nullptr) {
      if (above == nullptr) {
        put(layer->base());
      } else {
        above->set_base(layer->base());
      }
      return layer;
    }
    above = layer.get();
  }
  TORCH_CHECK(false, "LinearSlot::unwrap: slot '", place_->path, "' has no wrapper of kind '", kind,
              "'");
}

std::vector<torch::Tensor> forward_group(const torch::Tensor& x_I, const Pass& pass,
                                         std::initializer_list<const LinearSlot*> slots) {
  std::vector<torch::Tensor> weights_OI, biases_O;
  for (const auto* slot : slots) {
    auto dense = slot->place_->linear->as_dense();
    if (!dense.has_value() || !serves_small_linear(x_I, dense->weight_OI, dense->bias_O)) break;
    weights_OI.push_back(std::move(dense->weight_OI));
    biases_O.push_back(std::move(dense->bias_O));
  }
  if (weights_OI.size() == slots.size()) {
    for (const auto* slot : slots) {
      if (auto* const observer = slot->place_->observer) {
        observer->on_input(slot->place_->path, x_I);
      }
    }
    return small_linear_group(x_I, weights_OI, biases_O);
  }
  std::vector<torch::Tensor> outputs;
  for (const auto* slot : slots) outputs.push_back((*slot)(x_I, pass));
  return outputs;
}

std::string stored_name(const std::string& name) {
  static const std::string word = std::string(kBaseLayer) + ".";
  std::string out = name;
  for (auto at = out.find(word); at != std::string::npos; at = out.find(word, at)) {
    out.erase(at, word.size());
  }
  return out;
}

}  // namespace lowbank
