#pragma once

#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

namespace lowbank {

/// Tensors by parameter name, in the order of the model.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

}  // namespace lowbank
