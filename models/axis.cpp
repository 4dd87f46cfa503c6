#include "models/axis.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

namespace lowbank {
namespace {

// "a.weight" and "a.weight.exp_avg" belong to "a.weight".
bool belongs_to(const std::string& name, const std::string& parameter) {
  return name.starts_with(parameter) &&
         (name.size() == parameter.size() || name[parameter.size()] == '.');
}

torch::Tensor keep_in(const torch::Tensor& tensor, const std::string& name, const Axis& axis,
                      const AxisUse& use, const torch::Tensor& index_N) {
  const std::int64_t end = use.offset + axis.size * use.unit;
  TORCH_CHECK(use.dim < tensor.dim() && end <= tensor.size(use.dim), "keep_on_axis: axis '",
              axis.name, "' takes entries ", use.offset, " to ", end, " of dimension ", use.dim,
              " of '", name, "', which is ", tensor.sizes());
  const auto options = index_N.options();
  const auto entries_N =
      (index_N.unsqueeze(1) * use.unit + at::arange(use.unit, options)).flatten() + use.offset;
  const auto all = at::cat(
      {at::arange(use.offset, options), entries_N, at::arange(end, tensor.size(use.dim), options)});
  return tensor.index_select(use.dim, all.to(tensor.device()));
}

}  // namespace

Axis& Axis::add(std::string parameter, std::int64_t dim, std::int64_t offset, std::int64_t unit) {
  uses.push_back({.parameter = std::move(parameter), .dim = dim, .offset = offset, .unit = unit});
  return *this;
}

Axis& Axis::add(const LinearSlot& slot, Side side, std::int64_t offset, std::int64_t unit) {
  for (const Linear* layer : slot.layers()) {
    for (const auto& [parameter, dim] : layer->along(side)) {
      add(slot.path() + "." + parameter, dim, offset, unit);
    }
  }
  return *this;
}

void keep_on_axis(NamedTensors& tensors, const Axis& axis, const torch::Tensor& index_N) {
  const c10::NoGradGuard no_grad;
  TORCH_CHECK(index_N.dim() == 1 && index_N.scalar_type() == c10::kLong,
              "keep_on_axis: the index must be [N] int64, got ", index_N.sizes(), " ",
              index_N.dtype());
  TORCH_CHECK(index_N.numel() == 0 || (index_N.min().item<std::int64_t>() >= 0 &&
                                       index_N.max().item<std::int64_t>() < axis.size),
              "keep_on_axis: axis '", axis.name, "' has units 0 to ", axis.size - 1);
  // The last stretch of a parameter goes first: the places of the others then stay where they are.
  auto uses = axis.uses;
  std::stable_sort(uses.begin(), uses.end(),
                   [](const AxisUse& a, const AxisUse& b) { return a.offset > b.offset; });
  for (auto& [name, tensor] : tensors) {
    const std::string stored = stored_name(name);
    for (const auto& use : uses) {
      if (belongs_to(stored, use.parameter)) tensor = keep_in(tensor, name, axis, use, index_N);
    }
  }
}

}  // namespace lowbank
