#pragma once

#include <cstdint>
#include <stdexcept>

// Runs CUDA kernels on the CPU, so that they are tested where there is no GPU. The .cu files are
// compiled as C++ against the cuda_runtime.h of this folder.
//
// Emulated:     Blocks run one after the other. The threads of a block are fibres (ucontext) of one
//               CPU thread that take turns only where they wait: at __syncthreads and at a warp
//               shuffle. A warp runs as far as it can before the next one starts, so that a missing
//               barrier changes the results; each of the two orders shows what the other one hides.
// Found:        __syncthreads and shuffles that not all threads reach, or reach at different
//               places; a shuffle with a lane outside of its mask; reading shared memory that was
//               not written (it is NaN); writing outside of a shared array; a grid, a block or
//               shared memory of a size that a GPU refuses.
// Not emulated: Streams (a launch returns when the kernel has run), memory of the device (pointers
//               are the host's), preemption of a thread that does not wait, registers, fused
//               multiply-adds, and whatever of CUDA the kernels do not use.
namespace lowbank::emulation {

/// A launch throws this if a GPU would hang or show behaviour that CUDA leaves undefined.
class KernelError : public std::logic_error {
  using std::logic_error::logic_error;
};

/// The order in which blocks, warps and the lanes of a warp take turns.
enum class Order : std::uint8_t { kAscending, kDescending };

struct Settings {
  Order order = Order::kAscending;
  unsigned max_blocks = 0;  ///< limit of the grid's x, for kernels that run in strides; 0: none
};

/// The settings of all later launches.
Settings& settings();

}  // namespace lowbank::emulation
