#pragma once

#include <torch/types.h>

#include "core/philox.h"

namespace lowbank {

/// x with each element zeroed with the given probability and the others scaled so that the mean is
/// kept. Which ones is a function of the key and of the element's index alone; the backward pass
/// draws it again, so that nothing is kept for it.
///
/// Source:  Srivastava et al. 2014; bits of Philox 4x32-10, 16 for each element.
/// Differs: the probability is rounded to a multiple of 2^-16, the scale follows it.
/// Shapes:  x [...] -> [...]. The bits do not depend on the number of threads.
/// Errors:  c10::Error if probability is not in [0, 1).
torch::Tensor dropout(const torch::Tensor& x, double probability, const RandomKey& key);

}  // namespace lowbank
