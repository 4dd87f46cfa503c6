#pragma once

#include <torch/types.h>

#include "core/philox.h"

namespace lowbank {

/// Zeroes each element of x with the given probability and scales the others so that the mean is
/// kept. Whether an element is zeroed depends on the key and on the element's index alone. The
/// backward pass draws the same numbers again, so the forward pass saves nothing for it.
///
/// Source:  Srivastava et al. 2014; bits of Philox 4x32-10, 16 for each element.
/// Differs: the probability is rounded to a multiple of 2^-16, and the scale is that of the rounded
///          probability.
/// Shapes:  x [...] -> [...]. The bits do not depend on the number of threads.
/// Errors:  c10::Error if probability is not in [0, 1).
torch::Tensor dropout(const torch::Tensor& x, double probability, const RandomKey& key);

}  // namespace lowbank
