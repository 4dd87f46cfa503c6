#pragma once

#include <torch/types.h>

#include "tokenizers/tokenizer.h"

namespace lowbank {

/// The ids as int64 [T]; frees the list as it goes, so that both together take no more than the
/// tensor.
torch::Tensor take_token_tensor(tokenizers::IdList& ids);

}  // namespace lowbank
