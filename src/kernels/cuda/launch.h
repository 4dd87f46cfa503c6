#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

// The kernels declare shared memory with these macros: it is uninitialised, and all threads of a
// block share it. They are macros because the emulation in tests/cuda_emulation, which runs the
// kernels on the CPU, replaces them by its own, which put guards around each array. The dynamic
// array has the size that `launch` is given.
#ifndef LOWBANK_SHARED
#define LOWBANK_SHARED(type, name) __shared__ type name
#define LOWBANK_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

namespace lowbank {

/// Starts kernel(arguments...) in `grid` blocks of `threads`, each with `shared_bytes` of dynamic
/// shared memory, on the legacy default stream, which LibTorch uses by default. Returns the error
/// of the start and clears it, so that no later call of LibTorch finds it.
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

/// The number of blocks for a kernel whose threads advance in strides of the whole grid until all
/// `count` items are done: one thread for each item, but at most 65535 blocks.
inline dim3 blocks_for(std::int64_t count, int threads) {
  const std::int64_t blocks = (count + threads - 1) / threads;
  return dim3(static_cast<unsigned>(blocks < 65535 ? blocks : 65535));
}

}  // namespace lowbank
