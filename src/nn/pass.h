#pragma once

#include <cstdint>
#include <optional>

#include <torch/types.h>

#include "core/philox.h"

namespace lowbank {

/// What one forward pass tells every layer. It is an argument and is never kept in a layer: a
/// recomputed pass must see the same key, and two slots may share a module.
struct Pass {
  torch::Tensor mask_BS;      ///< bool, false at padding, of all tokens; undefined: no padding
  std::int64_t num_past = 0;  ///< tokens that the state holds from earlier passes
  std::optional<RandomKey> key = {};  ///< names this pass's draws; not set: nothing is drawn
};

}  // namespace lowbank
