#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "nn/linear.h"
#include "nn/named_tensors.h"

namespace lowbank {

/// Where an axis lies in one parameter: its units fill `size * unit` entries of a dimension, from
/// `offset` on.
struct AxisUse {
  std::string parameter;  ///< its name in a file
  std::int64_t dim = 0;
  std::int64_t offset = 0;
  std::int64_t unit = 1;  ///< entries of one unit of the axis (the rows of a head)
};

/// A dimension of a model whose units can be permuted without changing the model's logits (hidden
/// states move with theirs), and left out to make the model smaller. It goes by the names of
/// parameters, so that one list serves weights, adapters, masks and optimizer state, in a model or
/// in a file.
struct Axis {
  std::string name;       ///< "hidden", "layers.3.mlp"
  std::int64_t size = 0;  ///< units
  std::vector<AxisUse> uses = {};

  Axis& add(std::string parameter, std::int64_t dim, std::int64_t offset = 0,
            std::int64_t unit = 1);
  /// The parameters of every layer in the slot on one side.
  Axis& add(const LinearSlot& slot, Side side, std::int64_t offset = 0, std::int64_t unit = 1);
};

/// Keeps the units that `index` [N] int64 names, in its order, in every tensor that uses the axis:
/// the parameters, and what is kept of them under longer names ("<parameter>.exp_avg"). The list
/// gets new tensors; those it held are left as they are.
///
/// Errors:  c10::Error if the index is not [N] int64, names a unit that is not there, or a tensor
///          is too short for the axis.
void keep_on_axis(NamedTensors& tensors, const Axis& axis, const torch::Tensor& index_N);

}  // namespace lowbank
