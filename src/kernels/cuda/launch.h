#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

// How the kernels declare shared memory: uninitialised, and one for all threads of a block. Macros,
// because the emulation in tests/cuda_emulation, where the kernels run on the CPU, has its own: it
// puts guards around each array. The dynamic one has the size that `launch` was told.
#ifndef LOWBANK_SHARED
#define LOWBANK_SHARED(type, name) __shared__ type name
#define LOWBANK_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

namespace lowbank {

/// Starts kernel(arguments...) in `grid` blocks of `threads`, each with so many bytes of dynamic
/// shared memory, on the legacy default stream: the one LibTorch works on unless told otherwise.
/// Returns the error of the start and clears it, so that no later call of LibTorch finds it.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, int threads, std::size_t shared_bytes,
                   const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  cudaLaunchKernelEx(&config, kernel, arguments...);
  return cudaGetLastError();
}

/// Blocks for a kernel whose threads go on in strides of the whole grid until all `count` items are
/// done: one item a thread, as long as the grid does not grow too large.
inline dim3 blocks_for(std::int64_t count, int threads) {
  const std::int64_t blocks = (count + threads - 1) / threads;
  return dim3(static_cast<unsigned>(blocks < 65535 ? blocks : 65535));
}

}  // namespace lowbank
