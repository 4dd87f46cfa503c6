#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "config/stage_config.h"

namespace lowbank {

/// Sets LibTorch up as the common settings say and returns the device to compute on: threads
/// (0 = all cores this process may use), deterministic algorithms where they exist, no TF32.
/// A torch stage calls it first.
///
/// Errors: ConfigError for a device that is not cpu, cuda or cuda:i, or not there, and for a dtype
/// that the device does not compute in.
c10::Device apply_runtime(const CommonConfig& config);

/// The type that `dtype` names. Errors: ConfigError for f16 on the CPU.
c10::ScalarType compute_type(const CommonConfig& config);

}  // namespace lowbank
