#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>

// Takes the place of CUDA's header of this name where a C++ compiler compiles the .cu files. It has
// the part that they use, under CUDA's names; emulation.h says what is emulated.

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define LOWBANK_SHARED(type, name) \
  auto& name = *reinterpret_cast<type*>(lowbank::emulation::shared_array(#name, sizeof(type)))
#define LOWBANK_DYNAMIC_SHARED(type, name) \
  type* const name = reinterpret_cast<type*>(lowbank::emulation::dynamic_shared_array())

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned size_x = 1, unsigned size_y = 1, unsigned size_z = 1)
      : x(size_x), y(size_y), z(size_z) {}
};
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
};

extern uint3 threadIdx;  // all four belong to the running fibre
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

namespace lowbank::emulation {

/// The place in the source where a thread waits. As a default argument it names the caller's place.
struct Place {
  const char* file = __builtin_FILE();
  int line = __builtin_LINE();
};

/// Runs `thread` for every thread of the grid. `kernel` names the kernel.
cudaError_t run_grid(const cudaLaunchConfig_t& config, const void* kernel,
                     const std::function<void()>& thread);
cudaError_t set_max_dynamic_shared_bytes(const void* kernel, int size_bytes);

/// The shared array of that name, and the dynamic one, of the running block.
std::byte* shared_array(const char* name, std::size_t size_bytes);
std::byte* dynamic_shared_array();

/// Waits for all lanes of the mask; the value that `source_lane` brings.
float exchange(unsigned mask, float value, unsigned source_lane, const Place& place);
unsigned lane_index();

}  // namespace lowbank::emulation

/// Waits for all threads of the block.
void __syncthreads(const lowbank::emulation::Place& place = {});

inline float __shfl_xor_sync(unsigned mask, float value, unsigned lane_mask, unsigned width = 32,
                             const lowbank::emulation::Place& place = {}) {
  const unsigned lane = lowbank::emulation::lane_index();
  const unsigned source = lane ^ lane_mask;
  const unsigned last = lane | (width - 1);  // later ones belong to another part of the warp
  return lowbank::emulation::exchange(mask, value, source <= last ? source : lane, place);
}

inline void sincospif(float x, float* sine, float* cosine) {
  *sine = static_cast<float>(std::sin(std::numbers::pi * x));
  *cosine = static_cast<float>(std::cos(std::numbers::pi * x));
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  return lowbank::emulation::run_grid(*config, reinterpret_cast<const void*>(kernel),
                                      [&] { kernel(arguments...); });
}

template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute /*attribute*/,
                                 int value) {
  return lowbank::emulation::set_max_dynamic_shared_bytes(reinterpret_cast<const void*>(kernel),
                                                          value);
}

/// Returns the last error of a call, and clears it.
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
