#include "kernels/normal_fill.h"

#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "kernels/cuda/cuda_api.h"
#include "torch_support.h"

namespace lowbank {
namespace {

TEST(NormalFill, DrawsWhatTheScalarGeneratorDraws) {
  std::vector<float> scalar(10007);
  fill_normal(scalar, RandomKey(4).derive("a"), 3);
  const auto fast = at::empty({10007});
  normal_fill_(fast, RandomKey(4).derive("a"), 3);
  const auto wanted = at::from_blob(scalar.data(), {10007});
  EXPECT_TENSOR_NEAR(fast, wanted, 5e-6);  // two approximations of log, sin and cos in float32
}

TEST(NormalFill, AnElementDependsNeitherOnTheSpanNorOnTheThreads) {
  const auto whole = at::empty({1 << 18});
  at::set_num_threads(2);
  normal_fill_(whole, RandomKey(4));
  at::set_num_threads(1);
  for (const auto& [begin, length] :
       {std::pair{0, 1000}, std::pair{1, 777}, std::pair{100003, 513}}) {
    const auto part = at::empty({length});
    normal_fill_(part, RandomKey(4), static_cast<std::uint64_t>(begin));
    EXPECT_TRUE(part.equal(whole.narrow(0, begin, length))) << begin;
  }
}

// Where the kernel runs on the CPU; the tests of the CUDA kernels try its spans.
TEST(NormalFill, TheEmulatedGpuDrawsTheSameNumbers) {
  const auto key = RandomKey(4).derive("a");
  const auto cpu = at::empty({10007});
  const auto gpu = at::empty({10007});
  normal_fill_(cpu, key, 5);
  ASSERT_EQ(lowbank_cuda_normal_fill(gpu.data_ptr<float>(), 10007, key.key(), key.stream(), 5), 0);
  EXPECT_TENSOR_NEAR(gpu, cpu, 5e-6);  // log, sin and cos of two libraries
}

TEST(NormalFill, TheGpuDrawsTheSameNumbers_CUDA) {
  const auto cpu = at::empty({100003});
  const auto gpu = at::empty({100003}, at::TensorOptions(at::kCUDA));
  normal_fill_(cpu, RandomKey(4), 5);
  normal_fill_(gpu, RandomKey(4), 5);
  EXPECT_TENSOR_NEAR(gpu.cpu(), cpu, 5e-6);  // log, sin and cos of two libraries
}

}  // namespace
}  // namespace lowbank
