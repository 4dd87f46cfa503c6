#pragma once

#include <cstdint>

// What liblowbank_cuda.so exports. Plain C and raw pointers: the library needs no LibTorch header
// to compile, and the program needs no CUDA to link (kernels/cuda_library.h opens it at run time).
extern "C" {

/// out[i] (device memory) = element first_index + i of the normal stream (key, stream), as
/// fill_normal of core/philox.h; equal to the CPU's up to the last bits of log, sin and cos.
/// Returns a cudaError_t.
int lowbank_cuda_normal_fill(float* out, std::int64_t count, std::uint64_t key,
                             std::uint64_t stream, std::uint64_t first_index);

/// Text of a returned error.
const char* lowbank_cuda_error_text(int error);
}
