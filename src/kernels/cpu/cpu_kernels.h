#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/causal_conv_core.h"
#include "kernels/cpu/cpu_isa.h"
#include "kernels/cpu/selective_scan_core.h"

namespace lowbank {

/// The hot loops as compiled for one instruction set. Each takes `scratch` of scan_scratch_bytes or
/// conv_scratch_bytes, aligned to 64 bytes.
struct CpuKernels {
  void (*scan_forward)(const ScanForward<float>&, std::int64_t group, void* scratch);
  void (*scan_backward)(const ScanBackward<float>&, std::int64_t group, void* scratch);
  void (*conv_forward)(const ConvForward<float>&, std::int64_t group);
  void (*conv_backward)(const ConvBackward<float>&, std::int64_t group, void* scratch);
  void (*exp)(const float* x, float* out, std::size_t count);
  void (*exp2_product)(const float* x, const float* factor, float* out, std::size_t count);
  void (*softplus)(const float* x, float* out, std::size_t count);
  void (*sigmoid)(const float* x, float* out, std::size_t count);
};

const CpuKernels& cpu_kernels(CpuIsa isa);

namespace portable {
const CpuKernels& kernels();
void scan_forward(const ScanForward<double>& scan, std::int64_t group, void* scratch);
void scan_backward(const ScanBackward<double>& scan, std::int64_t group, void* scratch);
void conv_forward(const ConvForward<double>& conv, std::int64_t group);
void conv_backward(const ConvBackward<double>& conv, std::int64_t group, void* scratch);
}  // namespace portable
namespace avx2 {
const CpuKernels& kernels();
}
namespace avx512 {
const CpuKernels& kernels();
}

}  // namespace lowbank
