#pragma once

#include <cstdint>
#include <span>

#include "core/philox.h"

namespace at {
class Tensor;
}

namespace lowbank {

/// out[i] = element first_index + i of the key's standard normal stream, on one thread. The result
/// equals that of fill_normal of core/philox.h up to the last bits of log, sin and cos, but is many
/// times faster.
///
/// Source:  Box and Muller 1958 over Philox 4x32-10.
/// Differs: log, sin and cos are own series, so that the bits depend on neither processor nor libm.
void normal_fill(std::span<float> out, const RandomKey& key, std::uint64_t first_index = 0);

/// The same into a contiguous float32 tensor, in parallel, on the CPU or the GPU (whose values
/// differ in the last bits). The element does not depend on the number of threads.
void normal_fill_(const at::Tensor& out, const RandomKey& key, std::uint64_t first_index = 0);

}  // namespace lowbank
