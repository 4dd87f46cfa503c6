#include "cuda_emulation/emulation.h"

#include <string>
#include <vector>

#include <cuda_runtime.h>
#include <gmock/gmock.h>

#include "cuda_support.h"
#include "kernels/cuda/launch.h"

// Kernels with the faults that the emulation is there to find: a green test of a real kernel means
// something only while these are found.
namespace lowbank::testing {
namespace {

using ::testing::HasSubstr;

class CudaEmulationTest : public CudaKernelTest {};

// What the launch throws; "" if it runs through.
template <class... Parameters, class... Arguments>
std::string problem_of(void (*kernel)(Parameters...), int threads, const Arguments&... arguments) {
  try {
    launch(kernel, dim3(1), threads, 64 * sizeof(float), arguments...);
    return "";
  } catch (const emulation::KernelError& error) {
    return error.what();
  }
}

using Row = float[64];

// out[round, i] = 100 round + i of the thread that is half a block away.
__global__ void opposite_kernel(float* out, bool waits_before, bool waits_after) {
  LOWBANK_SHARED(Row, row);
  for (unsigned round = 0; round < 2; ++round) {
    row[threadIdx.x] = static_cast<float>(100 * round + threadIdx.x);
    if (waits_before) __syncthreads();
    out[64 * round + threadIdx.x] = row[(threadIdx.x + 32) % 64];
    if (waits_after) __syncthreads();
  }
}

TEST_F(CudaEmulationTest, AMissingBarrierChangesTheResults) {
  std::vector<float> wanted(128);
  for (int i = 0; i < 128; ++i) wanted[i] = static_cast<float>(i / 64 * 100 + (i + 32) % 64);
  for (const auto order : {emulation::Order::kAscending, emulation::Order::kDescending}) {
    emulation::settings().order = order;
    const auto opposites = [](bool waits_before, bool waits_after) {
      std::vector<float> out(128);
      EXPECT_EQ(launch(opposite_kernel, dim3(1), 64, 0, out.data(), waits_before, waits_after), 0);
      return out;
    };
    EXPECT_EQ(opposites(true, true), wanted);
    EXPECT_NE(opposites(false, true), wanted);
    EXPECT_NE(opposites(true, false), wanted);
  }
}

__global__ void divergent_kernel(bool at_two_places) {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else if (at_two_places) {
    __syncthreads();
  }
}

TEST_F(CudaEmulationTest, ABarrierThatNotAllThreadsReachIsFound) {
  EXPECT_THAT(problem_of(divergent_kernel, 64, false),
              HasSubstr("thread (0, 0, 0) waits in __syncthreads at emulation_test.cpp"));
  EXPECT_THAT(problem_of(divergent_kernel, 64, false), HasSubstr("thread (40, 0, 0) has ended"));
  EXPECT_THAT(problem_of(divergent_kernel, 64, true),
              HasSubstr("thread (40, 0, 0) waits in __syncthreads"));
  EXPECT_EQ(problem_of(divergent_kernel, 40, false), "");
}

__global__ void shuffle_kernel(float* out, unsigned mask, unsigned lane_mask, unsigned width,
                               unsigned num_lanes) {
  if (threadIdx.x >= num_lanes) return;
  out[threadIdx.x] = __shfl_xor_sync(mask, static_cast<float>(threadIdx.x), lane_mask, width);
}

TEST_F(CudaEmulationTest, AShuffleExchangesInsideItsWidth) {
  std::vector<float> out(64);
  EXPECT_EQ(problem_of(shuffle_kernel, 64, out.data(), 0xFFFFFFFFu, 5u, 32u, 64u), "");
  for (unsigned i = 0; i < 64; ++i) EXPECT_EQ(out[i], static_cast<float>(i ^ 5u));
  EXPECT_EQ(problem_of(shuffle_kernel, 64, out.data(), 0xFFFFFFFFu, 4u, 4u, 64u), "");
  for (unsigned i = 0; i < 64; ++i) {  // a later part of the warp is not read, an earlier one is
    EXPECT_EQ(out[i], static_cast<float>((i & 4u) != 0 ? i - 4 : i));
  }
}

TEST_F(CudaEmulationTest, AShuffleOutsideOfItsMaskIsFound) {
  std::vector<float> out(32);
  EXPECT_EQ(problem_of(shuffle_kernel, 32, out.data(), 0x0000FFFFu, 8u, 32u, 16u), "");
  EXPECT_THAT(problem_of(shuffle_kernel, 32, out.data(), 0x0000FFFFu, 16u, 32u, 16u),
              HasSubstr("does not name lane 16"));
  EXPECT_THAT(problem_of(shuffle_kernel, 32, out.data(), 0x0000FFFFu, 8u, 32u, 32u),
              HasSubstr("does not name the thread's own"));
  EXPECT_THAT(problem_of(shuffle_kernel, 32, out.data(), 0xFFFFFFFFu, 8u, 32u, 16u),
              HasSubstr("waits in a shuffle of the lanes 0xffffffff"));
  EXPECT_THAT(problem_of(shuffle_kernel, 16, out.data(), 0xFFFFFFFFu, 8u, 32u, 16u),
              HasSubstr("waits in a shuffle of the lanes 0xffffffff"));
}

__global__ void unwritten_kernel(float* out) {
  LOWBANK_SHARED(Row, row);
  LOWBANK_DYNAMIC_SHARED(float, dynamic);
  out[0] = row[threadIdx.x];
  out[1] = dynamic[threadIdx.x];
  row[threadIdx.x] = 1.0f;
  dynamic[threadIdx.x] = 1.0f;
}

TEST_F(CudaEmulationTest, EveryBlockFindsSharedMemoryUnwritten) {
  float out[2] = {};
  EXPECT_EQ(launch(unwritten_kernel, dim3(2), 1, sizeof(float), &out[0]), 0);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the program at such a write
__global__ void overrunning_kernel(int index, int dynamic_index) {
  LOWBANK_SHARED(Row, row);
  LOWBANK_DYNAMIC_SHARED(float, dynamic);
  float* const begin = row;
  begin[index] = 0.0f;
  dynamic[dynamic_index] = 0.0f;
}

TEST_F(CudaEmulationTest, AWriteOutsideOfASharedArrayIsFound) {
  EXPECT_EQ(problem_of(overrunning_kernel, 1, 63, 63), "");
  EXPECT_THAT(problem_of(overrunning_kernel, 1, 64, 0), HasSubstr("the shared array row"));
  EXPECT_THAT(problem_of(overrunning_kernel, 1, -1, 0), HasSubstr("the shared array row"));
  EXPECT_THAT(problem_of(overrunning_kernel, 1, 0, 64), HasSubstr("the dynamic shared memory"));
}
#endif

using FortyKilobytes = float[10 * 1024];

__global__ void large_kernel() {
  LOWBANK_SHARED(FortyKilobytes, row);
  row[0] = 0.0f;
}

TEST_F(CudaEmulationTest, MoreThan48KilobytesOfSharedMemoryMustBeAskedFor) {
  EXPECT_EQ(launch(large_kernel, dim3(1), 1, 8 * 1024), cudaSuccess);
  EXPECT_THROW(launch(large_kernel, dim3(1), 1, 9 * 1024), emulation::KernelError);
  EXPECT_EQ(launch(large_kernel, dim3(1), 1, 49 * 1024), cudaErrorInvalidValue);
  ASSERT_EQ(
      cudaFuncSetAttribute(large_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024),
      cudaSuccess);
  EXPECT_EQ(launch(large_kernel, dim3(1), 1, 49 * 1024), cudaSuccess);
  EXPECT_EQ(
      cudaFuncSetAttribute(large_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 * 1024),
      cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

__global__ void empty_kernel() {}

TEST_F(CudaEmulationTest, ALaunchReturnsItsErrorAndLeavesNone) {
  EXPECT_EQ(launch(empty_kernel, dim3(0), 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(empty_kernel, dim3(1, 65536), 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(empty_kernel, dim3(1), 1025, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_STREQ(lowbank_cuda_error_text(cudaErrorInvalidConfiguration),
               "invalid configuration argument");
}

}  // namespace
}  // namespace lowbank::testing
