#pragma once

#include <cstdint>
#include <string>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace lowbank {

/// How a process computes.
struct RuntimeOptions {
  std::int64_t threads = 0;            ///< 0 = all cores this process may use
  std::string device = "cpu";          ///< cpu | cuda | cuda:i
  c10::ScalarType type = c10::kFloat;  ///< of the computation
};

/// Sets LibTorch up (threads, deterministic algorithms where they exist, no TF32) and returns the
/// device to compute on. A torch stage calls it first.
///
/// Errors: ConfigError for a device that is not cpu, cuda or cuda:i or does not exist, and for a
/// type in which the device cannot compute.
c10::Device apply_runtime(const RuntimeOptions& options);

}  // namespace lowbank
