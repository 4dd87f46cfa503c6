#pragma once

#include <torch/types.h>

#include "tokenizers/tokenizer.h"

namespace lowbank {

/// The ids as int32 [T]: a long text must fit into memory; models take int64. Frees the list as it
/// goes, so that both together take little more than the tensor.
torch::Tensor take_token_tensor(tokenizers::IdList& ids);

}  // namespace lowbank
