#include <cstdint>

#include <cuda_runtime.h>

#include "core/philox_block.h"
#include "kernels/cuda/cuda_api.h"
#include "kernels/cuda/launch.h"

namespace {

constexpr int kThreadsPerBlock = 256;

// One thread draws one Philox block (four normals); the span may begin and end inside a block.
__global__ void normal_fill_kernel(float* out, std::int64_t count, std::uint64_t key,
                                   std::uint64_t stream, std::uint64_t first_index) {
  const std::uint64_t first_block = first_index / 4;
  const std::uint64_t last_block = (first_index + static_cast<std::uint64_t>(count) + 3) / 4;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t block = first_block + std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       block < last_block; block += stride) {
    const auto bits = lowbank::stream_block(key, stream, block);
    for (int first = 0; first < 4; first += 2) {
      const float radius = sqrtf(-2.0f * logf(lowbank::uniform_from_word(bits.words[first])));
      float sine;
      float cosine;
      sincospif(2.0f * lowbank::uniform_from_word(bits.words[first + 1]), &sine, &cosine);
      const float values[2] = {radius * cosine, radius * sine};
      for (int i = 0; i < 2; ++i) {
        const std::int64_t at = static_cast<std::int64_t>(block * 4 - first_index) + first + i;
        if (at >= 0 && at < count) out[at] = values[i];
      }
    }
  }
}

}  // namespace

extern "C" int lowbank_cuda_normal_fill(float* out, std::int64_t count, std::uint64_t key,
                                        std::uint64_t stream, std::uint64_t first_index) {
  if (count == 0) return cudaSuccess;
  const std::int64_t most_draws = count / 4 + 2;  // both ends may lie inside a Philox block
  return lowbank::launch(normal_fill_kernel, lowbank::blocks_for(most_draws, kThreadsPerBlock),
                         kThreadsPerBlock, 0, out, count, key, stream, first_index);
}

extern "C" const char* lowbank_cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}
