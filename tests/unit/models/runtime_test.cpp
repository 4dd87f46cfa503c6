#include "kernels/runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

CommonConfig settings(const std::string& device, const std::string& dtype = "f32",
                      std::int64_t threads = 1) {
  CommonConfig config;
  config.device = device;
  config.dtype = dtype;
  config.threads = threads;
  return config;
}

std::string refusal(const CommonConfig& config) {
  try {
    apply_runtime(config);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

class RuntimeTest : public ::testing::Test {
 protected:
  ~RuntimeTest() override { at::set_num_threads(1); }
};

TEST_F(RuntimeTest, ThreadsAreSetAndZeroMeansAllCores) {
  EXPECT_TRUE(apply_runtime(settings("cpu", "f32", 2)).is_cpu());
  EXPECT_EQ(at::get_num_threads(), 2);
  apply_runtime(settings("cpu", "f32", 0));
  EXPECT_GE(at::get_num_threads(), 1);
  EXPECT_THAT(refusal(settings("cpu", "f32", 100000)), HasSubstr("threads: 100000"));
}

TEST_F(RuntimeTest, UnknownDevicesAreNamed) {
  for (const char* device : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
    EXPECT_THAT(refusal(settings(device)), HasSubstr("device: '" + std::string(device) + "'"));
  }
}

TEST_F(RuntimeTest, AGpuThatIsNotThereIsRefusedWithAHint) {
  if (at::hasCUDA()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(refusal(settings("cuda:1")), AllOf(HasSubstr("'cuda:1'"), HasSubstr("--device cpu")));
}

TEST_F(RuntimeTest, HalfPrecisionOnTheCpuIsBfloat16Only) {
  EXPECT_EQ(compute_type(settings("cpu")), c10::kFloat);
  EXPECT_EQ(compute_type(settings("cpu", "bf16")), c10::kBFloat16);
  EXPECT_EQ(compute_type(settings("cuda", "f16")), c10::kHalf);
  EXPECT_THAT(refusal(settings("cpu", "f16")), AllOf(HasSubstr("f16"), HasSubstr("bf16")));
}

}  // namespace
}  // namespace lowbank
