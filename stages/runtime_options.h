#pragma once

#include "config/choose.h"
#include "config/stage_config.h"
#include "kernels/runtime.h"

namespace lowbank {

inline RuntimeOptions runtime_options(const CommonConfig& common) {
  return {.threads = common.threads,
          .device = common.device,
          .type = choose<c10::ScalarType>(
              common.dtype, {{"f32", c10::kFloat}, {"bf16", c10::kBFloat16}, {"f16", c10::kHalf}})};
}

}  // namespace lowbank
