#include "data/token_tensor.h"

#include <algorithm>

#include <ATen/ops/empty.h>

namespace lowbank {

torch::Tensor take_token_tensor(tokenizers::IdList& ids) {
  auto out_T = at::empty({static_cast<std::int64_t>(ids.size())}, at::kInt);
  auto* to = out_T.mutable_data_ptr<std::int32_t>();
  ids.drain([&](auto chunk) { to = std::copy(chunk.begin(), chunk.end(), to); });
  return out_T;
}

}  // namespace lowbank
