#pragma once

#include <cstdint>
#include <optional>

#include <torch/types.h>

#include "core/philox.h"

namespace lowbank {

/// What every layer must know about the present forward pass. Layers get it as an argument and
/// never keep it: a pass that is computed again must see the same key, and two slots may share a
/// module.
struct Pass {
  torch::Tensor mask_BS;      ///< bool for all tokens, false at padding; undefined: no padding
  std::int64_t num_past = 0;  ///< number of tokens that the state holds from earlier passes
  std::optional<RandomKey> key = {};  ///< key of this pass's random draws; not set: no draws
};

}  // namespace lowbank
